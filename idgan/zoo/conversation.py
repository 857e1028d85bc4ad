"""Limits for the requests of one download from a Hugging Face hub: in time, in size, and in what it may answer."""

import os
import re
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from huggingface_hub import constants, get_session
from huggingface_hub.utils import hf_raise_for_status

from idgan import errors
from idgan.zoo.entries import COMMIT

if TYPE_CHECKING:
    from idgan.zoo.remote import Remote

__all__ = ["Conversation", "timeout_from", "without_xet"]

TRIES = 3
"""Requests for the same bytes before giving up."""
PATIENCE = 4.0
"""Seconds of silence of the hub. HF_HUB_ETAG_TIMEOUT overrides it for headers, HF_HUB_DOWNLOAD_TIMEOUT for content."""
MAX_WAIT = 30.0
"""Seconds from a request to its answer, whatever this machine or the hub does meanwhile.

A longer patience counts in full.
"""
MAX_TIMEOUT = 86_400.0
MAX_REDIRECTS = 10
SLOWEST_SECONDS, SLOWEST_BYTES = 20.0, 20_000
"""A transfer is given up if it brings fewer bytes than this in so many seconds of waiting."""
MAX_ERROR_BYTES = 1 << 20
"""Largest body of an answer that is not the file."""
TICK = 0.1
"""Seconds between two looks at a conversation."""

ETAG = r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,127}"
"""ETags that can name a file in the cache."""


def timeout_from(variable: str) -> float:
    """Seconds in an environment variable, by default `PATIENCE`."""
    try:
        seconds = float(os.environ[variable])
    except (KeyError, ValueError):
        return PATIENCE
    return seconds if 0 < seconds < MAX_TIMEOUT else PATIENCE


_xet_lock = threading.Lock()
_xet_users = 0
_xet_before = False


@contextmanager
def without_xet() -> Iterator[None]:
    """Plain HTTP instead of the client's xet transfers.

    Xet has no time limit, and sends the token to an address in the hub's headers.

    Nested and concurrent uses are counted: the last one restores the setting.
    """
    global _xet_users, _xet_before
    with _xet_lock:
        if _xet_users == 0:
            _xet_before, constants.HF_HUB_DISABLE_XET = constants.HF_HUB_DISABLE_XET, True
        _xet_users += 1
    try:
        yield
    finally:
        with _xet_lock:
            _xet_users -= 1
            if _xet_users == 0:
                constants.HF_HUB_DISABLE_XET = _xet_before


class Conversation:
    """Limits for all requests that one download makes.

    It hooks into the client's session, for the requests of one thread. Limits: the silence of the hub, `TRIES` requests
    for the same bytes, `MAX_REDIRECTS`, the announced size, and a minimum speed. It refuses web pages, compressed
    content, and headers that cannot name a file in the cache. After 429 and 5xx it does not wait. The token is sent to
    the hub only.
    """

    def __init__(self, remote: "Remote") -> None:
        self.remote = remote
        self.requests: Counter[str] = Counter()
        self.redirects = 0
        self.position: str | None = None
        self.broken_by: BaseException | None = None
        self.asked_at: float | None = None
        self.started = self.silent = 0.0
        self.redirected_to: tuple[str, str] | None = None
        self.patience, self.margin = PATIENCE, 0.5
        self.given_up = False
        self.stream: Any = None

    def run(self, call: Callable[[], Path]) -> Path:
        """`call()` in a thread of its own, until the hub is silent for too long.

        Looking up a host name, trying each of its addresses, and headers that come byte by byte obey no time limit of
        the client.
        """
        outcome: Future[Path] = Future()

        def work() -> None:
            try:
                outcome.set_result(call())
            except BaseException as error:
                outcome.set_exception(error)

        threading.Thread(target=work, name=f"download of {self.remote}", daemon=True).start()
        cpu = time.process_time()
        try:
            while not wait([outcome], TICK).done:
                used, cpu = time.process_time() - cpu, time.process_time()
                if self.asked_at is None:  # it computes, waits for a lock of the cache, or receives content
                    continue
                if used < TICK / 50:  # time in which this process computes is no silence of the hub
                    self.silent += TICK
                limit = self.patience + self.margin
                if self.silent > limit or self.waited() > max(MAX_WAIT, limit):
                    raise errors.HubUnreachableError(
                        f"{self.remote}: {self.remote.host} did not answer within {self.patience:g} s, "
                        "and no whole copy is cached. Check the connection (on a slow line, set HF_HUB_ETAG_TIMEOUT "
                        "and HF_HUB_DOWNLOAD_TIMEOUT to more seconds), or load a model that is embedded or cached."
                    )
            return outcome.result()
        finally:
            self.given_up = True
            if not outcome.done():
                self._hang_up()
            wait([outcome], 2 * TICK)  # lets the thread remove what it has written

    def _note_stream(self, event: str, details: dict[str, Any]) -> None:
        """Keep the stream of a new connection. The client's transport calls this for each step of a request."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self.stream = details.get("return_value")

    def _hang_up(self) -> None:
        """End the connection, so that the thread stops waiting for it, and lets go of the lock of the cache."""
        with suppress(AttributeError, OSError):  # there is no connection, or it has ended
            self.stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self.thread = threading.get_ident()
        self.hooks = get_session().event_hooks
        self.hooks["request"].append(self._before)
        self.hooks["response"].append(self._after)

    def __exit__(self, *exception: object) -> None:
        self.hooks["request"].remove(self._before)
        self.hooks["response"].remove(self._after)

    def _before(self, request: Any) -> None:
        if threading.get_ident() != self.thread:
            return
        self.stop_if_given_up()
        position = request.headers.get("Range")
        if position not in (None, self.position):  # it resumes further on: that is progress
            self.position = position
            self.requests.clear()
            self.redirects = 0
        self.requests[request.method] += _is_for_file(request)
        if self.requests[request.method] > TRIES:
            cause = sys.exc_info()[1] or self.broken_by  # the client asks again from within its handler
            raise errors.DownloadInterruptedError(
                f"{self.remote}: the transfer from {self.remote.host} broke {TRIES} times at one place ({cause}). "
                "Nothing partial is used; try again later."
            ) from cause
        is_head = request.method == "HEAD"
        self.patience = timeout_from("HF_HUB_ETAG_TIMEOUT" if is_head else "HF_HUB_DOWNLOAD_TIMEOUT")
        self.margin = 0.5 if is_head else 1.5  # the client sleeps a second before it asks for content again
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), self.patience)
        request.extensions["trace"] = self._note_stream
        request.headers["Accept-Encoding"] = "identity"
        if _origin(str(request.url)) not in (_origin(self.remote.endpoint), _origin(constants.ENDPOINT)):
            request.headers.pop("Authorization", None)
        if (request.method, str(request.url)) != self.redirected_to:  # one deadline for a request and its redirects
            self.started, self.silent = time.monotonic(), 0.0
        self.asked_at = self.started

    def waited(self) -> float:
        """Seconds since the request that has no answer yet."""
        return 0.0 if self.asked_at is None else time.monotonic() - self.asked_at

    def _after(self, response: Any) -> None:
        if threading.get_ident() != self.thread:
            return
        method, remote = response.request.method, self.remote
        is_for_file = _is_for_file(response.request)
        is_content = is_for_file and method == "GET" and response.status_code in (200, 206)
        response.stream = _limited(response.stream, self, self._announced(response) if is_content else MAX_ERROR_BYTES)
        self.asked_at = self.redirected_to = None
        if not is_for_file:
            return
        if method == "HEAD":
            self._check_headers(response.headers)
        if response.has_redirect_location:
            self.requests[method] -= 1  # the next request is the same one, elsewhere
            self.redirects += 1
            self.redirected_to = (method, str(response.url.join(response.headers["Location"])))
            if self.redirects > MAX_REDIRECTS:
                raise errors.HubServerError(f"{remote}: {remote.host} redirects more than {MAX_REDIRECTS} times.")
            return
        if response.status_code == 429 or response.status_code >= 500:
            hf_raise_for_status(response)
        if method == "GET" and response.headers.get("Content-Type", "").startswith("text/html"):
            raise errors.CorruptWeightsError(f"{remote}: {remote.host} answered with a web page instead of the file.")
        if is_content and response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise errors.HubServerError(
                f"{remote}: {remote.host} sends the file compressed, though it was asked not to. A proxy may be in "
                "the way."
            )

    def _check_headers(self, headers: Any) -> None:
        """Check the commit and the ETag. The client makes names of files and folders from both."""
        remote = self.remote
        commit = headers.get("X-Repo-Commit")
        if commit is not None and not re.fullmatch(COMMIT, commit):
            raise errors.HubServerError(
                f"{remote}: {remote.host} states the commit {commit[:100]!a}, which is not 40 hex digits."
            )
        if commit is not None and remote.pinned and commit != remote.revision:
            raise errors.HubServerError(
                f"{remote}: {remote.host} answered with another commit, {commit}, than {remote.revision}."
            )
        etag = headers.get("X-Linked-Etag") or headers.get("ETag")
        if etag is not None and commit is not None and not re.fullmatch(ETAG, etag.removeprefix("W/").strip('"')):
            raise errors.HubServerError(
                f"{remote}: {remote.host} states the ETag {etag[:100]!a}, which cannot name a file in the cache."
            )

    def _announced(self, response: Any) -> int:
        """Number of bytes that the content of `response` may have."""
        sizes = [self.remote.expected_size, self.remote.size]
        length = response.headers.get("Content-Length", "")
        if response.status_code == 200 and length.isdecimal():
            sizes.append(int(length))
        size = next((size for size in sizes if size is not None), None)
        if size is None:
            raise errors.HubServerError(f"{self.remote}: {self.remote.host} does not state the size of the file.")
        start = re.fullmatch(r"bytes=(\d+)-", self.position or "") if response.status_code == 206 else None
        return size - int(start[1]) if start else size

    def stop_if_given_up(self) -> None:
        """End the thread of a download that was given up."""
        if self.given_up:
            raise errors.DownloadInterruptedError(f"{self.remote}: the download was given up.")


def _is_for_file(request: Any) -> bool:
    """Whether `request` is for the file. The client also makes requests for its own statistics."""
    return not request.url.path.startswith("/api/")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _limited(stream: Any, conversation: Conversation, most: int) -> Any:
    """The `stream` of a response, ended by an error after `most` bytes or if it is too slow."""

    class Limited(type(stream)):  # type: ignore[misc]  # the client insists on its own class of streams
        def __init__(self) -> None:
            """Nothing: `stream` is wrapped."""

        def __iter__(self) -> Iterator[bytes]:
            remote = conversation.remote
            total, waited, recent = 0, 0.0, 0
            chunks = iter(stream)
            while True:
                started = time.monotonic()
                chunk = next(chunks, None)
                waited += time.monotonic() - started  # only the wait for the hub counts, and not that for the disk
                if chunk is None:
                    return
                conversation.stop_if_given_up()
                total += len(chunk)
                recent += len(chunk)
                if total > most:
                    raise errors.HubServerError(
                        f"{remote}: {remote.host} sends more than the {most:,} bytes it announced."
                    )
                if waited > SLOWEST_SECONDS:
                    if recent < SLOWEST_BYTES:
                        raise errors.DownloadInterruptedError(
                            f"{remote}: {remote.host} sent only {recent:,} bytes in {waited:.0f} s. Nothing partial "
                            "is used; try again later."
                        )
                    waited, recent = 0.0, 0
                yield chunk

        def close(self) -> None:
            stream.close()

    return Limited()
