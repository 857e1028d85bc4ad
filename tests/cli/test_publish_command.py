"""`publish` and `cache`. (What reaches a hub: tests/zoo/test_publish.py.)"""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from idgan.cli import main
from idgan.evaluation.results import write_results
from idgan.files import sha256_of
from idgan.zoo.publish import NO_COMMIT
from idgan.zoo.weights import read_checkpoint, write_checkpoint

TERMS = ("--description", "Sprites", "--license", "MIT", "--data", "ours", "our own")


@pytest.fixture
def finished(directory):
    """runs/small as a finished and measured run."""
    path = directory / "runs/small/model.safetensors"
    sampler = read_checkpoint(path)
    text = dict.fromkeys(("recipe", "command", "hardware"), "x")
    sampler.info["training"] = text | {
        "seed": 0,
        "steps": {"vae": 1},
        "versions": {"idgan": "1"},
        "wall_time_seconds": 1.0,
    }
    write_checkpoint(path, sampler)
    write_results(path.with_name("results.json"), "x", sha256_of(path), [])
    return "runs/small"


def test_a_dry_run_prints_the_entry_and_writes_nothing(run, finished):
    output = run("publish", finished, "--repo", "org/small", "--dry-run", "--manifest", "zoo.json", *TERMS)
    card, _, rest = output.partition("would publish ")
    assert "ours, our own" in card
    listed, _, document = ("would publish " + rest).partition("{")
    entry = json.loads("{" + document)["small"]
    assert entry["weights"]["repo"] == "org/small"
    assert entry["weights"]["revision"] == NO_COMMIT
    assert (entry["description"], entry["license"], entry["data"]) == (
        "Sprites",
        "MIT",
        {"name": "ours", "license": "our own"},
    )
    assert len(listed.splitlines()) == 5
    assert all(line.startswith("would publish org/small/") for line in listed.splitlines())
    assert not Path("zoo.json").exists()


@pytest.fixture
def baseline(finished):
    """runs/gan, a finished and measured run of the method `gan`."""
    path = Path(shutil.copytree(finished, "runs/gan"), "model.safetensors")
    sampler = read_checkpoint(path)
    sampler.info["training"]["method"] = "gan"
    write_checkpoint(path, sampler)
    write_results(path.with_name("results.json"), "x", sha256_of(path), [])
    return "runs/gan"


def test_publish_refuses_before_anything_is_sent(fail, finished, baseline):
    assert "Missing option '--repo'" in fail("publish", finished, code=2)
    assert "does not exist" in fail("publish", "runs/none", "--repo", "org/small", code=2)
    assert 'is not "organization/name"' in fail("publish", finished, "--repo", "small", *TERMS)
    assert 'is not "organization/name"' in fail("publish", finished, "--repo", "small", "--space", "space", *TERMS)
    assert not Path("space").exists()
    refused = fail("publish", finished, "--repo", "org/small")
    assert "the package's manifest does not describe the recipe 'x'. Give --license and --data" in refused
    assert "give another with --name" in fail(
        "publish", finished, "--repo", "org/Small", "--manifest", "zoo.json", *TERMS
    )
    assert "the method gan, and 'dsprites' is an ID-GAN" in fail(
        "publish", baseline, "--repo", "org/x", "--name", "dsprites", "--dry-run", *TERMS
    )
    Path("zoo.json").write_text("[]")
    assert "zoo.json: a manifest is an object" in fail(
        "publish", finished, "--repo", "org/small", "--manifest", "zoo.json", *TERMS
    )
    Path(finished, "results.json").unlink()
    assert "idgan evaluate" in fail("publish", finished, "--repo", "org/small", *TERMS)


@pytest.fixture
def in_cache(directory):
    """`in_cache("cache", ...)`: `idgan cache ...` over the folder of that name: (exit code, output)."""

    def call(folder, *options):
        result = CliRunner().invoke(main, ["cache", "--cache-dir", folder, *options])
        return result.exit_code, result.output

    return call


def test_cache_lists_hashes_and_cleans(checkpoint, in_cache, directory):
    """A cache as the client makes it: a blob named by its sha256 with other content, and a partial download."""
    assert in_cache("none") == (0, "the cache holds no checkpoint of idgan\n")

    commit, sha256 = "c" * 40, "a" * 64
    repo = directory / "cache/models--org--small"
    for name in ("blobs", "refs", f"snapshots/{commit}"):
        (repo / name).mkdir(parents=True)
    (repo / "refs/main").write_text(commit)
    (repo / "blobs" / sha256).write_bytes(checkpoint.read_bytes())
    (repo / "snapshots" / commit / "model.safetensors").symlink_to(f"../../blobs/{sha256}")
    partial = repo / "blobs" / f"{'e' * 64}.0123abcd.incomplete"
    partial.write_bytes(bytes(500))

    code, output = in_cache("cache")
    assert code == 0
    assert output.splitlines()[0] == f"org/small  {checkpoint.stat().st_size + 500:,} bytes"
    assert output.splitlines()[1] == f"  {commit[:12]}  model.safetensors"
    assert "1 leftover(s)" in output

    code, output = in_cache("cache", "--verify", "--clean", "--json")
    report = json.loads(output)
    assert code == 1
    assert report["freed"] == 500
    assert not partial.exists()
    assert report["checked"] == 1
    assert list(report["faults"]) == [report["repositories"][0]["files"][0]["path"]]

    code, output = in_cache("cache", "--verify")
    assert code == 1
    assert "1 file(s) hashed, 1 damaged" in output
    assert sha256[:12] in output
