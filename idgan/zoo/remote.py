"""One file on a Hugging Face hub, and one clear error for each failure on the way.

`huggingface_hub` transfers, caches, locks and resumes. It also retries for half a minute without a network, waits
without end for a slow hub, and reports most failures alike. This module bounds what it waits for and what it accepts.
"""

import os
import re
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    get_session,
    get_token,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub import errors as client
from huggingface_hub.utils import hf_raise_for_status

from idgan import errors
from idgan.zoo.manifest import COMMIT, FILE_NAME, REPO_NAME, printable

__all__ = ["Remote", "check_token", "is_broken_connection", "translated"]

TRIES = 3
"""Requests for the same bytes before giving up."""
PATIENCE = 4.0
"""Seconds of silence of the hub. HF_HUB_ETAG_TIMEOUT overrides it for headers, HF_HUB_DOWNLOAD_TIMEOUT for content."""
MAX_WAIT = 30.0
"""Seconds from a request to its answer, whatever this machine or the hub does meanwhile.

A longer patience counts in full.
"""
MAX_REDIRECTS = 10
SLOWEST_SECONDS, SLOWEST_BYTES = 20.0, 20_000
"""A transfer is given up if it brings fewer bytes than this in so many seconds of waiting."""
MAX_ERROR_BYTES = 1 << 20
"""Largest body of an answer that is not the file."""
TICK = 0.1
"""Seconds between two looks at a conversation."""

REVISION = r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]{0,255}"
ETAG = r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,127}"
"""ETags that can name a file in the cache."""


class Remote:
    """One file of one repository at one revision, and how to reach it.

    Attributes:
        pinned: whether the revision is a commit.
        offline: whether no request may be made.
        size, etag: what the hub stated, once it was asked.
    """

    def __init__(
        self,
        repo: str,
        file: str,
        revision: str,
        *,
        endpoint: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        token: str | bool | None = None,
        offline: bool = False,
        expected_size: int | None = None,
    ) -> None:
        for value, pattern, accepted in (
            (repo, REPO_NAME, '"organization/name"'),
            (file, FILE_NAME, "a plain file name"),
            (revision, REVISION, "a commit, branch or tag"),
        ):
            if not isinstance(value, str) or not re.fullmatch(pattern, value):
                raise errors.InvalidInputError(f"{value!r:.300} is not {accepted}")
        self.repo, self.file, self.revision, self.token = repo, file, revision, token
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.endpoint = _checked_endpoint(constants.ENDPOINT if endpoint is None else endpoint)
        self.pinned = re.fullmatch(COMMIT, revision) is not None
        self.offline = (
            offline
            or constants.HF_HUB_OFFLINE
            or os.environ.get("HF_HUB_OFFLINE", "").upper() in constants.ENV_VARS_TRUE_VALUES
        )
        self.expected_size = expected_size
        self.size: int | None = None
        self.etag: str | None = None

    def __str__(self) -> str:
        return f"{self.file} of {self.repo}@{self.revision[:12]}"

    @property
    def host(self) -> str:
        """Address of the hub, for messages."""
        return self.endpoint

    def cached(self) -> Path | None:
        """Path in the cache, or None. No request is made. A directory is not a cached file."""
        path = try_to_load_from_cache(self.repo, self.file, cache_dir=self.cache_dir, revision=self.revision)
        return Path(path) if isinstance(path, str) and os.path.isfile(path) else None

    def download(self, force: bool = False) -> Path:
        """Path in the cache after asking the hub.

        A transfer that breaks is resumed, until it has broken `TRIES` times at one place.

        Args:
            force: replace a blob that is cached.

        Raises:
            HubError: says why the hub could not serve the file.
            CorruptWeightsError: the hub serves a web page, or a file of another size.
            OSError: the cache cannot be written.
        """
        if self.offline:
            raise errors.HubOfflineError(
                f"{self} is not cached, and offline mode (HF_HUB_OFFLINE or local_files_only) is on. Load it once "
                "with a connection."
            )
        check_token(self.token)
        conversation = _Conversation(self)
        return conversation.run(lambda: self._converse(conversation, force))

    def _converse(self, conversation: "_Conversation", force: bool) -> Path:
        with conversation, _without_xet():
            self._ask(conversation)
            conversation.requests.clear()
            while True:
                try:
                    return self._transfer(force)
                except errors.IdganError:
                    raise
                except Exception as error:
                    if not is_broken_connection(error):
                        raise translated(error, self) from error
                    conversation.broken_by = error
                    time.sleep(1)  # the limits of `conversation` end this loop

    def _transfer(self, force: bool) -> Path:
        path = hf_hub_download(
            self.repo,
            self.file,
            revision=self.revision,
            endpoint=self.endpoint,
            cache_dir=self.cache_dir,
            token=self.token,
            force_download=force,
            etag_timeout=_seconds("HF_HUB_ETAG_TIMEOUT"),
        )
        is_other = force and not (os.path.islink(path) and os.path.basename(os.readlink(path)) == self.etag)
        if is_other or not os.path.isfile(path):
            # The client fetched the blob, and left what was there: a copy, a link to another blob, or a directory.
            _remove(path)
            return self._transfer(force=False)
        return Path(path)

    def _ask(self, conversation: "_Conversation") -> None:
        """Ask for the file's headers. What is wrong shows now, and not after the many tries of `hf_hub_download`."""
        url = hf_hub_url(self.repo, self.file, revision=self.revision, endpoint=self.endpoint)

        def ask() -> Any:
            return get_hf_file_metadata(
                url, token=self.token, timeout=_seconds("HF_HUB_ETAG_TIMEOUT"), endpoint=self.endpoint
            )

        try:
            try:
                answer = ask()
            except client.HTTPError as error:
                if not is_broken_connection(error) or conversation.waited() >= conversation.patience:
                    raise
                conversation.broken_by = error
                answer = ask()  # a connection may break once
        except errors.IdganError:
            raise
        except Exception as error:
            raise translated(error, self) from error
        if answer.commit_hash is None or answer.etag is None:
            raise errors.HubUnreachableError(f"{self}: {NOT_A_HUB.format(remote=self)}.")
        self.size, self.etag = answer.size, answer.etag
        if None not in (self.expected_size, self.size) and self.expected_size != self.size:
            raise errors.CorruptWeightsError(
                f"{self} is not what was promised: expected {self.expected_size:,} bytes, found {self.size:,} on "
                f"{self.host}."
            )


def _remove(path: str) -> None:
    """Remove a link, a file or a directory in the cache."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _checked_endpoint(endpoint: object) -> str:
    """`endpoint` without a slash at its end, if it is an http or https address without user name and password."""
    try:
        parts = urlsplit(str(endpoint))
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        has_credentials = "@" in parts.netloc
    except ValueError:
        valid = has_credentials = False
    if has_credentials:
        raise errors.InvalidInputError(
            "the endpoint of the hub (HF_ENDPOINT) has a user name or a password in it, which would show in logs; "
            "leave them out, and pass "
            "a token instead (HF_TOKEN, or `hf auth login`)"
        )
    if not valid or not isinstance(endpoint, str):
        shown = str(endpoint).rpartition("@")[2]
        raise errors.InvalidInputError(f"endpoint {shown!r:.300} is not an http or https address")
    return endpoint.rstrip("/")


def check_token(token: str | bool | None) -> None:
    """Check that the token, which may come from the environment or a file, fits in a header.

    The client's error would quote it.

    Raises:
        HubAuthError: the token is empty or has other characters. The message does not show it.
    """
    if token == "":
        raise errors.HubAuthError(
            "the hub token is empty; pass a token, False for none, or None for the one that is logged in"
        )
    token = token if isinstance(token, str) else get_token() if token is not False else None
    if token and not re.fullmatch(r"[!-~]+", token):
        raise errors.HubAuthError(
            "the hub token has spaces or characters that no token has; set it again (it is not shown here)"
        )


def _seconds(variable: str) -> float:
    """Seconds in an environment variable, by default `PATIENCE`."""
    try:
        return float(os.environ[variable])
    except (KeyError, ValueError):
        return PATIENCE


# ------------------------------------------------------------------ limits of a conversation

_xet_lock = threading.Lock()
_xet_users = 0
_xet_before = False


@contextmanager
def _without_xet() -> Iterator[None]:
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


class _Conversation:
    """Limits for all requests that one download makes.

    It hooks into the client's session, for the requests of one thread. Limits: the silence of the hub, `TRIES` requests
    for the same bytes, `MAX_REDIRECTS`, the announced size, and a minimum speed. It refuses web pages, compressed
    content, and headers that cannot name a file in the cache. After 429 and 5xx it does not wait. The token is sent to
    the hub only.
    """

    def __init__(self, remote: Remote) -> None:
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

        threading.Thread(target=work, daemon=True).start()
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
                        f"{self.remote}: {self.remote.host} did not answer within {self.patience:g} s, and no whole "
                        "copy is cached. Check "
                        "the connection (on a slow line, set HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT to more "
                        "seconds), or load a "
                        "model that is embedded or cached."
                    )
            return outcome.result()
        finally:
            self.given_up = True
            wait([outcome], 2 * TICK)  # lets the thread remove what it has written

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
        self.patience = _seconds("HF_HUB_ETAG_TIMEOUT" if is_head else "HF_HUB_DOWNLOAD_TIMEOUT")
        self.margin = 0.5 if is_head else 1.5  # the client sleeps a second before it asks for content again
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), self.patience)
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


def _limited(stream: Any, conversation: _Conversation, most: int) -> Any:
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


# ------------------------------------------------------------------ what went wrong

NOT_A_HUB = (
    "{remote.host} answers, but not as a hub does; "
    "a login page of this network, a proxy, or a wrong HF_ENDPOINT may be in the way"
)
NO_ACCESS = "does not exist, was renamed, or is private. If it is private, log in (`hf auth login`, or HF_TOKEN)"
GATED = "its terms must be accepted first, at {remote.host}/{remote.repo}; then log in (`hf auth login`, or HF_TOKEN)"
KINDS: tuple[tuple[Any, type[errors.IdganError], str], ...] = (
    (client.GatedRepoError, errors.GatedRepoError, GATED),
    (
        (client.RepositoryNotFoundError, client.DisabledRepoError),
        errors.RepoNotFoundError,
        "the repository " + NO_ACCESS,
    ),
    (client.RevisionNotFoundError, errors.RevisionNotFoundError, "the repository has no revision {remote.revision}"),
    (
        client.RemoteEntryNotFoundError,
        errors.FileMissingError,
        "the repository holds no such file: moved, or not an idgan checkpoint",
    ),
    (client.OfflineModeIsEnabled, errors.HubOfflineError, "it is not cached, and offline mode is on"),
    (client.FileMetadataError, errors.HubUnreachableError, NOT_A_HUB),
    (
        client.LocalTokenNotFoundError,
        errors.HubAuthError,
        "token=True, but nobody is logged in (`hf auth login`, or HF_TOKEN)",
    ),
    (client.HFValidationError, errors.InvalidInputError, "the hub accepts no such name"),
)
"""(error of the client, our error, advice). The first that fits is taken."""
STATUSES: dict[int, tuple[type[errors.HubError], str]] = {
    401: (errors.HubAuthError, "the token is missing or refused; log in again (`hf auth login`, or HF_TOKEN)"),
    403: (errors.HubAuthError, "this token may not read it; ask its owner, or use another token"),
    404: (errors.RepoNotFoundError, "the repository or file " + NO_ACCESS),
    429: (errors.HubRateLimitError, "too many requests; wait a little, or log in for a higher limit"),
}


def is_broken_connection(error: BaseException | None) -> bool:
    """Whether `error` is a failed connection and not an answer. Asking once more may help."""
    return isinstance(error, client.HTTPError) and not isinstance(error, client.HfHubHTTPError)


def translated(error: BaseException, remote: Remote) -> Exception:
    """The error of this package for an `error` of the client."""
    cause: BaseException = error
    while (isinstance(cause, client.LocalEntryNotFoundError) or type(cause) is ValueError) and cause.__cause__:
        cause = cause.__cause__  # the client wraps it
    for kind, ours, advice in KINDS:
        if isinstance(cause, kind):
            return ours(f"{remote}: {advice.format(remote=remote)}.")
    status = getattr(getattr(cause, "response", None), "status_code", None)
    if status is not None:
        hub_error, advice = STATUSES.get(status, (errors.HubError, "an unexpected answer"))
        if status >= 500:
            hub_error, advice = errors.HubServerError, "it failed on its side; try again later"
        return hub_error(f"{remote}: {remote.host} answered {status}: {advice}.")
    if is_broken_connection(cause):
        return errors.HubUnreachableError(
            f"{remote}: {remote.host} cannot be reached ({printable(cause)}), and no whole copy is cached. Check the "
            "connection and any proxy "
            "(on a slow line, set HF_HUB_ETAG_TIMEOUT to more seconds), or load a model that is embedded or cached."
        )
    if isinstance(cause, OSError) and cause.errno is not None:
        size = "" if remote.size is None else f" ({remote.size:,} bytes)"
        where = remote.cache_dir or constants.HF_HUB_CACHE
        return type(cause)(
            cause.errno, f"could not store {remote}{size} in {where}: {cause.strerror}. Make room, or set HF_HUB_CACHE"
        )
    if type(cause) is OSError:  # the client counts the bytes
        return errors.DownloadInterruptedError(
            f"{remote}: {remote.host} did not send what it announced ({printable(cause)})"
        )
    return errors.HubError(f"{remote}: the download failed: {type(cause).__name__}: {printable(cause)}")
