"""Weights from the Hugging Face Hub: pinned and verified. `remote` does the talking; here the bytes are held to what was promised."""

import logging
import os
import re
from functools import lru_cache
from pathlib import Path

from idgan.errors import CorruptWeightsError, HubError, HubRateLimitError, HubServerError, HubUnreachableError
from idgan.files import sha256_of
from idgan.zoo.manifest import PACKAGE, SHA256

__all__ = ["fault_of", "fetch", "locate", "stated_sha256", "verify"]

log = logging.getLogger(__name__)

WEB_PAGE = re.compile(rb"\s*<(!doctype|html|head|\?xml)", re.IGNORECASE)


def fetch(
    repo, file, *, revision, sha256=None, bytes=None, endpoint=None, cache_dir=None, token=None, local_files_only=False
):
    """Path of `file` of the hub repository `repo` at `revision`, in the local cache, verified.

    A cached file at a 40-hex commit costs no request. A branch or tag is looked up each time, and its cached copy serves when the hub does
    not answer. The content must have `sha256` and `bytes`; without a `sha256` the one that the hub states for large files counts. A cached
    file that fails is fetched again, once.

    Args:
        endpoint: a hub other than HF_ENDPOINT or huggingface.co.
        token: as in huggingface_hub: a string, False for none, None for the one that is logged in.
    Raises:
        CorruptWeightsError: the file is not what was promised, and fetching it again did not help.
        HubError: a subclass says why the hub could not serve the file; that the hub cannot be reached is known in under five seconds.
        OSError: the cache cannot be written; the message names the directory and the size.
    """
    from idgan.zoo.remote import (
        Remote,  # here, because huggingface_hub takes a tenth of a second that embedded weights do not need
    )

    remote = Remote(repo, file, revision, endpoint=endpoint, cache_dir=cache_dir, token=token, offline=local_files_only)
    path = remote.cached()
    if path is None:
        path = remote.download()
    elif not remote.pinned and not remote.offline:
        try:
            path = remote.download()
        except (HubUnreachableError, HubServerError, HubRateLimitError) as error:
            log.warning("%s Using the cached copy.", error)
    try:
        return verify(path, sha256=sha256 or stated_sha256(path, remote.etag), bytes=bytes)
    except CorruptWeightsError as error:
        corrupt = error
    if remote.offline:
        raise CorruptWeightsError(f"{corrupt} Load it once with a connection: it will be fetched again.") from corrupt
    log.warning("%s Fetching it again.", corrupt)
    try:
        path = remote.download(force=True)
    except (HubError, OSError) as error:
        raise CorruptWeightsError(f"{corrupt} Fetching it again failed: {error}") from error
    return verify(path, sha256=sha256 or stated_sha256(path, remote.etag), bytes=bytes)


def locate(weights, **options):
    """Path of a manifest entry's `Weights`, verified: inside the package when embedded, else fetched with the `options` of `fetch`."""
    if weights.embedded:
        return verify(PACKAGE / "weights" / weights.file, sha256=weights.sha256, bytes=weights.bytes)
    return fetch(
        weights.repo, weights.file, revision=weights.revision, sha256=weights.sha256, bytes=weights.bytes, **options
    )


def verify(path, *, sha256=None, bytes=None):
    """`path`, if the file there has that content hash and size and is no web page; CorruptWeightsError otherwise."""
    if fault := fault_of(path, sha256, bytes):
        raise CorruptWeightsError(f"{Path(path).name} is not what was promised: {fault} ({path}).")
    return Path(path)


def fault_of(path, sha256=None, bytes=None):
    """What is wrong with the file at `path`, in words; None when it is whole.

    A file is hashed once a process, as long as its size, modification time and inode stay the same.
    """
    try:
        stat = os.stat(path)
        actual = _hash_of(os.fspath(path), stat.st_size, stat.st_mtime_ns, stat.st_ino) if sha256 else None
        with open(path, "rb") as file:
            page = (
                ", which is a web page: the server answered with HTML instead of the file"
                if WEB_PAGE.match(file.read(512))
                else ""
            )
    except FileNotFoundError:
        return "there is no such file"
    if bytes not in (None, stat.st_size):
        return f"expected {bytes:,} bytes, found {stat.st_size:,}{page}"
    if sha256 != actual:
        return f"expected sha256 {sha256}, found {actual}{page}"
    return f"expected weights, found something else{page}" if page and not sha256 else None


@lru_cache(maxsize=256)
def _hash_of(path, size, mtime_ns, inode):
    return sha256_of(path)


def stated_sha256(path, etag=None):
    """The sha256 the hub stated for a cached file, or None. It is the ETag of a large file, and the cache names blobs by ETag.

    `etag` stands in where the cache has no links (Windows without developer mode).
    """
    name = os.path.basename(os.readlink(path)) if os.path.islink(path) else etag or ""
    return name if re.fullmatch(SHA256, name) else None
