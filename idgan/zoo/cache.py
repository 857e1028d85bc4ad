"""What the hub cache holds of this package's checkpoints: list it, hash it again, clear it. The cache is huggingface_hub's own."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import scan_cache_dir
from huggingface_hub.errors import CacheNotFound
from huggingface_hub.utils import WeakFileLock
from safetensors import SafetensorError, safe_open

from idgan.zoo.download import fault_of, stated_sha256
from idgan.zoo.manifest import Manifest

__all__ = ["CachedFile", "CachedRepo", "clean", "scan", "verify"]

log = logging.getLogger(__name__)

PARTIAL = re.compile(r"(?P<etag>.+?)(\.[0-9a-f]{8})?\.incomplete")


@dataclass(frozen=True)
class CachedFile:
    """A file of one commit in the cache. `sha256` and `bytes` are what it should have, None where nobody said."""

    name: str
    revision: str
    path: Path
    sha256: str | None
    bytes: int | None


@dataclass(frozen=True)
class CachedRepo:
    """A hub repository in the cache: `bytes` on disk, its whole `files`, and `partials` that no running download writes to."""

    repo: str
    bytes: int
    files: tuple
    partials: tuple


def scan(cache_dir=None):
    """The cached repositories that hold checkpoints of this package, or that the manifest names, sorted. A list of `CachedRepo`."""
    pins = {}
    for entry in Manifest.load().entries.values():
        if entry.weights and not entry.weights.embedded:
            pins[entry.weights.repo, entry.weights.revision, entry.weights.file] = entry.weights
    named = {repo for repo, _, _ in pins}
    return sorted(
        (_described(repo, pins) for repo in _all_repos(cache_dir) if repo.repo_id in named or _holds_checkpoint(repo)),
        key=lambda repo: repo.repo,
    )


def verify(cache_dir=None):
    """Hash every file whose content is known, from the manifest or the hub. A list of (`CachedFile`, what is wrong in words or None)."""
    return [
        (file, fault_of(file.path, file.sha256, file.bytes))
        for repo in scan(cache_dir)
        for file in repo.files
        if file.sha256
    ]


def clean(cache_dir=None, repo=None):
    """Delete what interrupted downloads left behind or, when one is named, all of the hub repository `repo`. Returns the bytes freed."""
    if repo is None:
        return sum(_delete(path) for held in scan(cache_dir) for path in held.partials)
    freed = 0
    for held in _all_repos(cache_dir):
        if held.repo_id == repo:
            freed += sum(_delete(path) for path in _partials(held.repo_path))
            strategy = scan_cache_dir(cache_dir).delete_revisions(
                *(revision.commit_hash for revision in held.revisions)
            )
            strategy.execute()
            freed += strategy.expected_freed_size
    return freed


def _all_repos(cache_dir):
    try:
        return [repo for repo in scan_cache_dir(cache_dir).repos if repo.repo_type == "model"]
    except CacheNotFound:
        return []


def _described(repo, pins):
    files = []
    for revision in repo.revisions:
        for file in revision.files:
            pin = pins.get((repo.repo_id, revision.commit_hash, file.file_name))
            sha256, size = (pin.sha256, pin.bytes) if pin else (stated_sha256(file.file_path), None)
            files.append(CachedFile(file.file_name, revision.commit_hash, file.file_path, sha256, size))
    files.sort(key=lambda file: (file.revision, file.name))
    partials = tuple(_partials(repo.repo_path))
    return CachedRepo(
        repo.repo_id, repo.size_on_disk + sum(path.stat().st_size for path in partials), tuple(files), partials
    )


def _holds_checkpoint(repo):
    for revision in repo.revisions:
        for file in revision.files:
            if file.file_name.endswith(".safetensors"):
                try:
                    with safe_open(file.file_path, framework="numpy") as content:
                        if (content.metadata() or {}).get("format", "").startswith("idgan-"):
                            return True
                except (OSError, SafetensorError):
                    log.info("%s is not a whole safetensors file", file.file_path)
    return False


def _partials(repo_path):
    """Partial downloads that nobody holds the lock of: their process is gone."""
    for path in sorted(repo_path.glob("blobs/*.incomplete")):
        lock = repo_path.parent / ".locks" / repo_path.name / f"{PARTIAL.fullmatch(path.name)['etag']}.lock"
        try:
            if lock.exists():
                with WeakFileLock(lock, timeout=0.05):
                    pass
            yield path
        except TimeoutError:
            log.info("%s is being downloaded", path)


def _delete(path):
    size = path.stat().st_size
    path.unlink()
    return size
