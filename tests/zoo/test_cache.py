"""The cache: what is ours is found, hashed and cleared; what is not ours, or is being written, is left alone."""

import hashlib
import json

import numpy
import pytest
from huggingface_hub.utils import WeakFileLock
from safetensors.numpy import save

from idgan.zoo import cache
from idgan.zoo.download import fetch

FILE = "model.safetensors"
OURS = save({"x": numpy.arange(300, dtype=numpy.float32)}, {"format": "idgan-1"})
FOREIGN = save({"x": numpy.arange(300, dtype=numpy.float32)}, {"format": "pt"})
OTHER = OURS[:-1] + bytes([OURS[-1] ^ 1])


@pytest.fixture
def stored(hub, tmp_path):
    """A cache with one repository of ours, one that is not, and the paths of their files."""

    def get(repo, data):
        commit = hub.add(repo, {FILE: data})
        return fetch(repo, FILE, revision=commit, endpoint=hub.url, cache_dir=tmp_path / "cache", token=False)

    return get("org/ours", OURS), get("org/foreign", FOREIGN)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def leave_partial(path, size=500):
    """What a killed download leaves beside the blob that `path` links to."""
    partial = path.resolve().with_name(f"{'e' * 64}.0123abcd.incomplete")
    partial.write_bytes(bytes(size))
    return partial


def name_in_manifest(path, repo, revision, data, monkeypatch):
    weights = {
        "file": FILE,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "repo": repo,
        "revision": revision,
    }
    training = dict.fromkeys(("recipe", "command", "hardware"), "x") | {
        "seed": 0,
        "steps": 1,
        "versions": {},
        "wall_time_seconds": 1,
    }
    entry = {
        "status": "released",
        "description": "x",
        "license": "MIT",
        "data": {"name": "x", "license": "x"},
        "resolution": 64,
        "image_channels": 1,
        "c_dim": 1,
        "s_dim": 0,
        "weights": weights,
        "training": training,
    }
    path.write_text(json.dumps({"schema": 1, "models": {"named": entry}}))
    monkeypatch.setenv("IDGAN_MANIFEST", str(path))


def test_an_absent_cache_is_empty(tmp_path):
    assert cache.scan(tmp_path / "none") == []
    assert cache.verify(tmp_path / "none") == []
    assert cache.clean(tmp_path / "none") == 0
    assert cache.clean(tmp_path / "none", repo="org/ours") == 0


def test_scan_finds_checkpoints_by_their_content(stored, folder):
    (held,) = cache.scan(folder)
    assert (held.repo, held.bytes, held.leftovers) == ("org/ours", len(OURS), ())
    (file,) = held.files
    assert (file.name, file.path, file.sha256) == (FILE, stored[0], hashlib.sha256(OURS).hexdigest())


def test_scan_finds_what_the_manifest_names(stored, folder, tmp_path, monkeypatch):
    name_in_manifest(tmp_path / "m.json", "org/foreign", stored[1].parent.name, OURS, monkeypatch)
    assert [held.repo for held in cache.scan(folder)] == ["org/foreign", "org/ours"]


def test_verify_says_which_file_is_damaged(stored, folder):
    assert [fault for _, fault in cache.verify(folder)] == [None]
    stored[0].resolve().write_bytes(OTHER)
    ((file, fault),) = cache.verify(folder)
    assert file.path == stored[0]
    assert f"found {hashlib.sha256(OTHER).hexdigest()}" in fault


def test_verify_holds_files_to_the_manifest(stored, folder, tmp_path, monkeypatch):
    name_in_manifest(tmp_path / "m.json", "org/ours", stored[0].parent.name, OTHER, monkeypatch)
    ((_, fault),) = cache.verify(folder)
    assert f"expected sha256 {hashlib.sha256(OTHER).hexdigest()}" in fault


def test_clean_deletes_the_partial_downloads_of_our_repositories_only(stored, folder):
    ours, foreign = leave_partial(stored[0], 500), leave_partial(stored[1], 700)
    (held,) = cache.scan(folder)
    assert held.leftovers == (ours,)
    assert held.bytes == len(OURS) + 500
    assert cache.clean(folder) == 500
    assert not ours.exists()
    assert foreign.exists()
    assert stored[0].read_bytes() == OURS
    assert cache.clean(folder) == 0


def test_clean_leaves_a_download_that_is_running(stored, folder):
    partial = leave_partial(stored[0])
    lock = folder / ".locks" / "models--org--ours" / f"{'e' * 64}.lock"
    with WeakFileLock(lock):
        assert cache.scan(folder)[0].leftovers == ()
        assert cache.clean(folder) == 0
    assert partial.exists()
    assert cache.clean(folder) == 500


def test_clean_deletes_a_named_repository_whole(stored, folder):
    leave_partial(stored[0])
    assert cache.clean(folder, repo="org/ours") == len(OURS) + 500
    assert cache.scan(folder) == []
    assert not stored[0].exists()
    assert stored[1].read_bytes() == FOREIGN
    assert cache.clean(folder, repo="org/ours") == 0


@pytest.mark.parametrize("link", [True, False])
def test_a_directory_in_the_place_of_a_file_is_shown_and_cleaned(stored, folder, link):
    """An earlier version of the package followed a hub that stated an empty ETag: a link to the folder of blobs."""
    ours, foreign = stored
    for path in stored:
        path.unlink()
        if link:
            path.symlink_to(path.parents[2] / "blobs")
        else:
            path.mkdir()
            (path / "part").write_bytes(bytes(70))
    assert [(held.repo, held.leftovers) for held in cache.scan(folder)] == [
        ("org/foreign", (foreign,)),
        ("org/ours", (ours,)),
    ]
    assert cache.clean(folder) == (0 if link else 140)
    assert not ours.is_symlink() and not ours.exists()
    assert ours.parents[2].is_dir()
    assert len(list(ours.parents[2].glob("blobs/*"))) == 1
