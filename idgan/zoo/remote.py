"""One file on a Hugging Face hub, and one clear error for each failure on the way.

`huggingface_hub` transfers, caches, locks and resumes. It also retries for half a minute without a network, waits
without end for a slow hub, and reports most failures alike. `Conversation` bounds what it waits for and accepts.
"""

import os
import re
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    get_token,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub import errors as client

from idgan import errors
from idgan.zoo.conversation import Conversation, timeout_from, without_xet
from idgan.zoo.entries import COMMIT, FILE_NAME, REPO_NAME
from idgan.zoo.untrusted import printable

__all__ = ["Remote", "check_token", "is_broken_connection", "translated"]

REVISION = r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]{0,255}"


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
                f"{self} is not cached, and offline mode (HF_HUB_OFFLINE or local_files_only) is on. "
                "Load it once with a connection."
            )
        check_token(self.token)
        conversation = Conversation(self)
        return conversation.run(lambda: self._converse(conversation, force))

    def _converse(self, conversation: Conversation, force: bool) -> Path:
        with conversation, without_xet():
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
            etag_timeout=timeout_from("HF_HUB_ETAG_TIMEOUT"),
        )
        is_other = force and not (os.path.islink(path) and os.path.basename(os.readlink(path)) == self.etag)
        if is_other or not os.path.isfile(path):
            # The client fetched the blob, and left what was there: a copy, a link to another blob, or a directory.
            _remove(path)
            return self._transfer(force=False)
        return Path(path)

    def _ask(self, conversation: Conversation) -> None:
        """Ask for the file's headers. What is wrong shows now, and not after the many tries of `hf_hub_download`."""
        url = hf_hub_url(self.repo, self.file, revision=self.revision, endpoint=self.endpoint)

        def ask() -> Any:
            return get_hf_file_metadata(
                url, token=self.token, timeout=timeout_from("HF_HUB_ETAG_TIMEOUT"), endpoint=self.endpoint
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
                f"{self} is not what was promised: expected {self.expected_size:,} bytes, "
                f"found {self.size:,} on {self.host}."
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
            "leave them out, and pass a token instead (HF_TOKEN, or `hf auth login`)"
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
            f"{remote}: {remote.host} cannot be reached ({printable(cause)}), and no whole copy is cached. "
            "Check the connection and any proxy "
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
