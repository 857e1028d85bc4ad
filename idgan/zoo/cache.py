"""Checkpoints of this package in the hub cache: list them, hash them again, clean up.

The cache belongs to huggingface_hub.
"""

import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants, scan_cache_dir
from huggingface_hub.errors import CacheNotFound
from huggingface_hub.utils import WeakFileLock
from safetensors import SafetensorError, safe_open

from idgan.zoo.download import find_fault, stated_sha256
from idgan.zoo.entries import Weights
from idgan.zoo.manifest import Manifest

__all__ = ["CachedFile", "CachedRepo", "clean", "scan", "verify"]

log = logging.getLogger(__name__)

PARTIAL = re.compile(r"(?P<etag>.+?)(\.[0-9a-f]{8})?\.incomplete")


@dataclass(frozen=True)
class CachedFile:
    """A file of one commit in the cache. `sha256` and `bytes` are its expected hash and size, None if unknown."""

    name: str
    revision: str
    path: Path
    sha256: str | None
    bytes: int | None


@dataclass(frozen=True)
class CachedRepo:
    """A hub repository in the cache.

    Attributes:
        bytes: size on disk.
        files: whole files.
        leftovers: interrupted downloads that no process continues, and entries that are no files.
    """

    repo: str
    bytes: int
    files: tuple[CachedFile, ...]
    leftovers: tuple[Path, ...]


def scan(cache_dir: str | os.PathLike[str] | None = None) -> list[CachedRepo]:
    """The cached repositories that have checkpoints of this package or are in the manifest, sorted by name."""
    pins: dict[tuple[str | None, str | None, str], Weights] = {}
    for entry in Manifest.load().entries.values():
        if entry.weights and entry.weights.repo is not None:
            pins[entry.weights.repo, entry.weights.revision, entry.weights.file] = entry.weights
    named = {repo for repo, _, _ in pins}
    return sorted(
        (_describe(repo, pins) for repo in _all_repos(cache_dir) if repo.repo_id in named or _is_ours(repo)),
        key=lambda repo: repo.repo,
    )


def verify(cache_dir: str | os.PathLike[str] | None = None) -> list[tuple[CachedFile, str | None]]:
    """Hash every file for which the manifest or the hub states a hash.

    Returns:
        Pairs of a file and what is wrong with it, in words or None.
    """
    return [
        (file, find_fault(file.path, file.sha256, file.bytes))
        for repo in scan(cache_dir)
        for file in repo.files
        if file.sha256
    ]


def clean(cache_dir: str | os.PathLike[str] | None = None, repo: str | None = None) -> int:
    """Delete the leftovers of all checkpoints, or everything of the hub repository `repo`.

    Returns the number of bytes freed.
    """
    if repo is None:
        return sum(_delete(path) for held in scan(cache_dir) for path in held.leftovers)
    freed = 0
    for held in _all_repos(cache_dir):
        if held.repo_id == repo:
            freed += sum(_delete(path) for path in _leftovers(held.repo_path))
            commits = [revision.commit_hash for revision in held.revisions]
            strategy = scan_cache_dir(_as_path(cache_dir)).delete_revisions(*commits)
            strategy.execute()
            freed += strategy.expected_freed_size
    return freed


def _as_path(cache_dir: str | os.PathLike[str] | None) -> Path:
    return Path(constants.HF_HUB_CACHE if cache_dir is None else cache_dir)


def _all_repos(cache_dir: str | os.PathLike[str] | None) -> list[Any]:
    try:
        return [repo for repo in scan_cache_dir(_as_path(cache_dir)).repos if repo.repo_type == "model"]
    except CacheNotFound:
        return []


def _describe(repo: Any, pins: Mapping[tuple[str | None, str | None, str], Weights]) -> CachedRepo:
    files = []
    for revision in repo.revisions:
        for file in revision.files:
            pin = pins.get((repo.repo_id, revision.commit_hash, file.file_name))
            sha256, size = (pin.sha256, pin.bytes) if pin else (stated_sha256(file.file_path), None)
            files.append(CachedFile(file.file_name, revision.commit_hash, file.file_path, sha256, size))
    files.sort(key=lambda file: (file.revision, file.name))
    leftovers = tuple(_leftovers(repo.repo_path))
    size = repo.size_on_disk + sum(path.lstat().st_size for path in leftovers if path.name.endswith(".incomplete"))
    return CachedRepo(repo.repo_id, size, tuple(files), leftovers)


def _is_ours(repo: Any) -> bool:
    """Whether a cached repository has a checkpoint of this package, or a directory in the place of one."""
    if any(path.suffix == ".safetensors" for path in _directories(repo.repo_path)):
        return True
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


def _leftovers(repo_path: Path) -> Iterator[Path]:
    """Directories in the place of files, and partial downloads without a process that holds their lock."""
    yield from _directories(repo_path)
    for path in sorted(repo_path.glob("blobs/*.incomplete")):
        match = PARTIAL.fullmatch(path.name)
        lock = repo_path.parent / ".locks" / repo_path.name / f"{match['etag'] if match else ''}.lock"
        try:
            if lock.exists():
                with WeakFileLock(lock, timeout=0.05):
                    pass
            yield path
        except TimeoutError:
            log.info("%s is being downloaded", path)


def _directories(repo_path: Path) -> list[Path]:
    """Directories in the place of files. The client makes none: blobs are files, and links lead to blobs."""
    blobs = [path for path in repo_path.glob("blobs/*") if path.is_dir()]
    snapshots = [path for path in repo_path.glob("snapshots/*/*") if path.is_dir()]
    return sorted(blobs + [path for path in snapshots if path.is_symlink() or path.suffix == ".safetensors"])


def _delete(path: Path) -> int:
    """Delete a file, a link or a directory. Returns the number of bytes freed."""
    if path.is_dir() and not path.is_symlink():
        size = sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
        shutil.rmtree(path)
        return size
    size = 0 if path.is_symlink() else path.stat().st_size
    path.unlink()
    return size
