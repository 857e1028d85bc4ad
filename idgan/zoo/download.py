"""Weights from the Hugging Face Hub or from inside the package, verified each time. `remote` talks to the hub."""

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from idgan.errors import (
    CorruptWeightsError,
    DownloadInterruptedError,
    HubError,
    HubRateLimitError,
    HubServerError,
    HubUnreachableError,
    WeightsNotHereError,
)
from idgan.files import sha256_of
from idgan.zoo.entries import SHA256, Weights
from idgan.zoo.manifest import PACKAGE

__all__ = ["describe_fault", "fetch", "find_fault", "locate", "stated_sha256", "verify"]

log = logging.getLogger(__name__)

WEB_PAGE = re.compile(rb"\s*<(!doctype|html|head|\?xml)", re.IGNORECASE)


def verify(path: Path, sha256: str | None = None, bytes: int | None = None) -> Path:
    """`path`, if the file there has that hash and size and is not a web page.

    Raises:
        CorruptWeightsError: says what was expected and what was found.
    """
    if fault := find_fault(path, sha256, bytes):
        raise CorruptWeightsError(f"{path.name} is not what was promised: {fault} ({path}).")
    return path


def fetch(
    repo: str,
    file: str,
    *,
    revision: str,
    sha256: str | None = None,
    bytes: int | None = None,
    endpoint: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    read: Callable[[Path, str | None, int | None], Any] = verify,
) -> Any:
    """Get `file` of the hub repository `repo` at `revision` into the local cache, and read it from there.

    A cached file at a 40-hex commit costs no request. A branch or tag is looked up each time. If the hub does not
    answer, or the cache cannot be written, the cached copy is used, with a warning. A cached file that is damaged is
    fetched again, once.

    Args:
        sha256, bytes: expected hash and size. Without `sha256`, the hash that the hub states for large files is taken.
        endpoint: address of the hub, by default HF_ENDPOINT or huggingface.co.
        token: as in huggingface_hub: a string, False for none, or None for the one that is logged in.
        read: called with the path in the cache, the expected hash and the expected size. It raises CorruptWeightsError
            for a damaged file.

    Returns:
        The result of `read`. By default this is the path.

    Raises:
        CorruptWeightsError: the file is damaged, and fetching it again did not help.
        HubError: the hub could not serve the file. Subclasses say why.
        OSError: the cache cannot be written. The message names the directory and the size.
    """
    from idgan.zoo.remote import Remote  # its import takes a tenth of a second, which embedded weights do not need

    remote = Remote(
        repo,
        file,
        revision,
        endpoint=endpoint,
        cache_dir=cache_dir,
        token=token,
        offline=local_files_only,
        expected_size=bytes,
    )

    def read_verified(path: Path) -> Any:
        return read(path, sha256 or stated_sha256(path, remote.etag), bytes)

    path = remote.cached()
    if path is None:
        path = remote.download()
    elif not remote.pinned and not remote.offline:
        path = _update(remote, path)
    try:
        return read_verified(path)
    except CorruptWeightsError as error:
        corrupt = error
    if remote.offline:
        raise CorruptWeightsError(f"{corrupt} Load it once with a connection to fetch it again.") from corrupt
    log.warning("%s Fetching it again.", corrupt)
    try:
        path = remote.download(force=True)
    except (HubError, OSError) as error:
        raise CorruptWeightsError(f"{corrupt} Fetching it again failed: {error}") from error
    return read_verified(path)


def _update(remote: Any, cached: Path) -> Path:
    """The file at the branch or tag of `remote`.

    This is the `cached` one if the hub does not answer or the cache cannot be written.
    """
    try:
        return remote.download()
    except (HubUnreachableError, HubServerError, HubRateLimitError, DownloadInterruptedError) as error:
        reason = str(error)
    except OSError as error:
        if isinstance(error, HubError):  # no access, for example: then the cached copy must not be used
            raise
        reason = f"{error}."
    log.warning("%s Using the cached copy, which may be older.", reason)
    return cached


def locate(weights: Weights, read: Callable[[Path, str | None, int | None], Any] = verify, **options: Any) -> Any:
    """Find and read the file of a manifest entry: in the package, beside it, or got by `fetch` with `options`.

    Raises:
        WeightsNotHereError: the file is beside the package in a source tree, and the package was installed without it.
    """
    if weights.embedded:
        return read(PACKAGE / "weights" / weights.file, weights.sha256, weights.bytes)
    if weights.beside:
        path = PACKAGE.parent / "weights" / weights.file
        if not path.exists():
            raise WeightsNotHereError(
                f"{weights.file} ({weights.bytes / 1e6:.0f} MB) is not part of an installed idgan, and no hub serves "
                f"it. It is weights/{weights.file} in a checkout of idgan: install from there with `pip install -e .`, "
                "or load the file by its path"
            )
        return read(path, weights.sha256, weights.bytes)
    return fetch(
        str(weights.repo),
        weights.file,
        revision=str(weights.revision),
        sha256=weights.sha256,
        bytes=weights.bytes,
        read=read,
        **options,
    )


def find_fault(path: str | os.PathLike[str], sha256: str | None = None, bytes: int | None = None) -> str | None:
    """What is wrong with the file at `path`, in words. None if it has the expected hash and size."""
    try:
        if os.path.isdir(path):
            return "it is a directory"
        with open(path, "rb") as file:
            start, size = file.read(512), os.fstat(file.fileno()).st_size
        digest = sha256_of(path) if sha256 and bytes in (None, size) else None
    except FileNotFoundError:
        return "there is no such file"
    return describe_fault(start, size, digest, sha256, bytes)


def describe_fault(
    start: bytes, size: int, digest: str | None, sha256: str | None = None, bytes: int | None = None
) -> str | None:
    """What is wrong with a file of `size` bytes that begins with `start` and has the hash `digest`.

    None if it is as expected.
    """
    is_page = WEB_PAGE.match(start[:512]) is not None
    page = ", which is a web page: the server answered with HTML instead of the file" if is_page else ""
    if bytes not in (None, size):
        return f"expected {bytes:,} bytes, found {size:,}{page}"
    if sha256 is not None and sha256 != digest:
        return f"expected sha256 {sha256}, found {digest}{page}"
    return f"expected weights, found something else{page}" if page and sha256 is None else None


def stated_sha256(path: Path, etag: str | None = None) -> str | None:
    """The sha256 that the hub stated for a cached file, or None.

    For a large file this is its ETag. The cache names blobs by ETag. `etag` is used if the cache has no links, as on
    Windows without developer mode.
    """
    name = os.path.basename(os.readlink(path)) if os.path.islink(path) else etag or ""
    return name if re.fullmatch(SHA256, name) else None
