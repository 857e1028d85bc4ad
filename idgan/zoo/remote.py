"""One file on a Hugging Face hub, and quick, plain words for what went wrong on the way.

`huggingface_hub` transfers, caches, locks and resumes. It also waits half a minute before it says that there is no network, and reports
most failures alike: here its retries end within seconds, and each kind of failure is an error of its own.
"""

import os
import re
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future
from concurrent.futures import TimeoutError as DeadlineError
from pathlib import Path
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
from idgan.zoo.manifest import COMMIT, FILE_NAME, REPO_NAME

__all__ = ["Remote", "is_broken_connection", "refuse_odd_token", "translated"]

TRIES = 3  # requests for the same bytes before giving up
PATIENCE = 4.0  # seconds without an answer; HF_HUB_ETAG_TIMEOUT overrides it for the first one, HF_HUB_DOWNLOAD_TIMEOUT in a transfer

REVISION = r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]{0,255}"


class Remote:
    """One file of one repository at one revision, and how to reach it.

    `pinned`: the revision is a commit. `offline`: no request will be made. `size` and `etag`: what the hub states, once it was asked.
    """

    def __init__(self, repo, file, revision, *, endpoint=None, cache_dir=None, token=None, offline=False):
        for value, pattern, accepted in (
            (repo, REPO_NAME, '"organisation/name"'),
            (file, FILE_NAME, "a plain file name"),
            (revision, REVISION, "a commit, branch or tag"),
        ):
            if not isinstance(value, str) or not re.fullmatch(pattern, value):
                raise errors.InvalidInputError(f"{value!r} is not {accepted}")
        self.repo, self.file, self.revision, self.cache_dir, self.token = repo, file, revision, cache_dir, token
        self.endpoint = _checked_endpoint(constants.ENDPOINT if endpoint is None else endpoint)
        self.pinned = re.fullmatch(COMMIT, revision) is not None
        self.offline = (
            offline
            or constants.HF_HUB_OFFLINE
            or os.environ.get("HF_HUB_OFFLINE", "").upper() in constants.ENV_VARS_TRUE_VALUES
        )
        self.size = self.etag = None

    def __str__(self):
        return f"{self.file} of {self.repo}@{self.revision[:12]}"

    @property
    def host(self):
        """The endpoint without user name and password."""
        return urlsplit(self.endpoint)._replace(netloc=urlsplit(self.endpoint).netloc.rpartition("@")[2]).geturl()

    def cached(self):
        """Path in the cache, or None. No request is made."""
        path = try_to_load_from_cache(self.repo, self.file, cache_dir=self.cache_dir, revision=self.revision)
        return Path(path) if isinstance(path, str) else None

    def download(self, force=False):
        """Path in the cache after asking the hub. A transfer that breaks goes on, until it has broken `TRIES` times at one place.

        `force` replaces a blob that is already cached.
        """
        if self.offline:
            raise errors.HubOfflineError(
                f"{self} is not cached, and offline mode (HF_HUB_OFFLINE or local_files_only) is on. Load it once with a connection."
            )
        refuse_odd_token(self.token)
        self._ask()
        limits = _Limits(self)
        while True:
            try:
                with limits:
                    return self._transfer(force)
            except errors.IdganError:
                raise
            except Exception as error:
                if not is_broken_connection(error):
                    raise translated(error, self) from error
                limits.broken_by = error
                time.sleep(1)  # `limits` ends this loop

    def _transfer(self, force):
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
        if force and not (os.path.islink(path) and os.path.basename(os.readlink(path)) == self.etag):
            os.unlink(
                path
            )  # the client fetched the blob, and left what stood in its place: a copy, or a link to a blob of another ETag
            return self._transfer(force=False)
        return Path(path)

    def _ask(self):
        """Ask for the file's headers: what is wrong shows here, in time, and not after the many tries of `hf_hub_download`."""
        seconds = _seconds("HF_HUB_ETAG_TIMEOUT")

        def ask():
            url = hf_hub_url(self.repo, self.file, revision=self.revision, endpoint=self.endpoint)
            with _Limits(self):
                try:
                    return get_hf_file_metadata(url, token=self.token, timeout=seconds, endpoint=self.endpoint)
                except client.HTTPError as error:
                    if not is_broken_connection(error):
                        raise
                return get_hf_file_metadata(
                    url, token=self.token, timeout=seconds, endpoint=self.endpoint
                )  # a connection may break once

        try:
            answer = _within(seconds, ask)
        except errors.IdganError:
            raise
        except DeadlineError as error:
            raise errors.HubUnreachableError(
                f"{self}: {self.host} did not answer within {seconds:g} s, and no whole copy is cached. Check the connection (on a slow "
                "line, set HF_HUB_ETAG_TIMEOUT to more seconds), or load a model that is embedded or cached."
            ) from error
        except Exception as error:
            raise translated(error, self) from error
        if answer.commit_hash is None:
            raise errors.HubUnreachableError(f"{self}: {NOT_A_HUB.format(remote=self)}.")
        self.size, self.etag = answer.size, answer.etag


def _checked_endpoint(endpoint):
    try:
        parts = urlsplit(endpoint)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return endpoint.rstrip("/")
    except (AttributeError, TypeError, ValueError):
        pass
    raise errors.InvalidInputError(f"endpoint {str(endpoint).rpartition('@')[2]!r} is not an http or https address")


def refuse_odd_token(token):
    """The client quotes a token that cannot go into a header in its error; this one does not."""
    token = token if isinstance(token, str) else get_token()
    if token and not re.fullmatch(r"[!-~]+", token):
        raise errors.HubAuthError(
            "the hub token holds spaces or characters that no token has; set it again (it is not shown here)"
        )


def _seconds(variable):
    try:
        return float(os.environ[variable])
    except (KeyError, ValueError):
        return PATIENCE


def _within(seconds, call):
    """`call()`, or DeadlineError: looking up a host name, and trying each of its addresses, obey no time limit of the client."""
    outcome = Future()

    def run():
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(seconds)


class _Limits:
    """Event hooks on the client's session, for the requests of one thread.

    `TRIES` requests for the same bytes, no waiting after 429 and 5xx, no web page where a file is due, no path as the name of a blob.
    """

    def __init__(self, remote):
        self.remote, self.asked, self.position, self.broken_by = remote, Counter(), None, None

    def __enter__(self):
        self.thread = threading.get_ident()
        self.hooks = get_session().event_hooks
        self.hooks["request"].append(self._before)
        self.hooks["response"].append(self._after)

    def __exit__(self, *exception):
        self.hooks["request"].remove(self._before)
        self.hooks["response"].remove(self._after)

    def _before(self, request):
        if threading.get_ident() != self.thread:
            return
        if (position := request.headers.get("Range")) not in (
            None,
            self.position,
        ):  # it resumes further on: that is progress
            self.position = position
            self.asked.clear()
        self.asked[request.method] += 1
        if self.asked[request.method] > TRIES:
            cause = sys.exc_info()[1] or self.broken_by  # the client asks again from within its handler
            raise errors.DownloadInterruptedError(
                f"{self.remote}: the transfer from {self.remote.host} broke {TRIES} times at one place ({cause}). Nothing partial is used; "
                "try again later."
            ) from cause
        if request.method == "GET" and "read" in request.extensions.get("timeout", {}):
            request.extensions["timeout"]["read"] = _seconds("HF_HUB_DOWNLOAD_TIMEOUT")

    def _after(self, response):
        if threading.get_ident() != self.thread:
            return
        if response.has_redirect_location:
            self.asked[response.request.method] -= 1  # the next request is the same one, elsewhere
        if response.status_code == 429 or response.status_code >= 500:
            hf_raise_for_status(response)
        etags = response.headers.get("X-Linked-Etag", ""), response.headers.get("ETag", "").removeprefix("W/")
        if re.search(r"[/\\]|\.\.", "".join(etags)):
            raise errors.HubServerError(
                f"{self.remote}: {self.remote.host} states an ETag that would name a file outside the cache: {etags}."
            )
        if response.request.method == "GET" and response.headers.get("Content-Type", "").startswith("text/html"):
            raise errors.CorruptWeightsError(
                f"{self.remote}: {self.remote.host} answered with a web page instead of the file."
            )


# ------------------------------------------------------------------ what went wrong

NOT_A_HUB = "{remote.host} answers, but not as a hub does; a login page of this network, a proxy, or a wrong HF_ENDPOINT may be in the way"
NO_ACCESS = "does not exist, was renamed, or is private. If it is private, log in (`hf auth login`, or HF_TOKEN)"
GATED = "its terms must be accepted first, at {remote.host}/{remote.repo}; then log in (`hf auth login`, or HF_TOKEN)"
KINDS = (  # the client's error, ours, advice; the first that fits counts
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
STATUSES = {
    401: (errors.HubAuthError, "the token is missing or refused; log in again (`hf auth login`, or HF_TOKEN)"),
    403: (errors.HubAuthError, "this token may not read it; ask its owner, or use another token"),
    404: (errors.RepoNotFoundError, "the repository or file " + NO_ACCESS),
    429: (errors.HubRateLimitError, "too many requests; wait a little, or log in for a higher limit"),
}


def is_broken_connection(error):
    """Whether `error` is a connection that failed, rather than an answer: asking once more may help."""
    return isinstance(error, client.HTTPError) and not isinstance(error, client.HfHubHTTPError)


def translated(error, remote):
    """Our error for what the client raised."""
    cause = error
    while (
        isinstance(cause, client.LocalEntryNotFoundError) or type(cause) is ValueError
    ) and cause.__cause__:  # the client's wrappers
        cause = cause.__cause__
    for kind, ours, advice in KINDS:
        if isinstance(cause, kind):
            return ours(f"{remote}: {advice.format(remote=remote)}.")
    if (status := getattr(getattr(cause, "response", None), "status_code", None)) is not None:
        ours, advice = STATUSES.get(status, (errors.HubError, "an unexpected answer"))
        if status >= 500:
            ours, advice = errors.HubServerError, "it failed on its side; try again later"
        return ours(f"{remote}: {remote.host} answered {status}: {advice}.")
    if is_broken_connection(cause):
        return errors.HubUnreachableError(
            f"{remote}: {remote.host} cannot be reached ({cause}), and no whole copy is cached. Check the connection and any proxy, or "
            "load a model that is embedded or cached."
        )
    if isinstance(cause, OSError) and cause.errno is not None:
        size = "" if remote.size is None else f" ({remote.size:,} bytes)"
        where = remote.cache_dir or constants.HF_HUB_CACHE
        return type(cause)(
            cause.errno, f"could not store {remote}{size} in {where}: {cause.strerror}. Make room, or set HF_HUB_CACHE"
        )
    if type(cause) is OSError:  # the client counts the bytes
        return errors.DownloadInterruptedError(f"{remote}: {remote.host} did not send what it announced ({cause})")
    return errors.HubError(f"{remote}: the download failed: {type(cause).__name__}: {cause}")
