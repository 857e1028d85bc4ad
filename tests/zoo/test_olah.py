"""Downloads from a hub that is not ours: olah, a mirror server, shares no code with the local hub of the other tests.

Run where olah 0.5 is installed; it serves git repositories, read-only.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest
import torch

import idgan
from idgan import zoo
from idgan.networks import ConvGeneratorConfig, ModelConfig, Posterior, VAEConfig
from idgan.sampler import Sampler
from idgan.zoo.weights import CHECKPOINT_FILE, read_checkpoint, write_checkpoint

pytest.importorskip("olah", reason="olah, an independent hub, is not installed")

PATIENCE = 60  # seconds for the server to start
REPOS = ("org/plain", "org/large")
CONFIG = """
[basic]
host = "127.0.0.1"
port = {port}
repos-path = "{root}/cache"
mirrors-path = ["{root}/mirrors"]

[accessibility]
offline = true
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("olah")


@pytest.fixture(scope="module")
def checkpoint(root):
    torch.manual_seed(0)
    bank = Posterior(torch.randn(8, 3), torch.randn(8, 3))
    sampler = Sampler(ModelConfig(VAEConfig(3), ConvGeneratorConfig(3, 2)), bank=bank, info={"name": "small"})
    return write_checkpoint(root / CHECKPOINT_FILE, sampler)


@pytest.fixture(scope="module")
def commits(root, checkpoint):
    """The commit of each of `REPOS`: the checkpoint in git itself, and in large-file storage with a pointer in git."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    data = checkpoint.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n".encode()
    plain, large = (root / "mirrors" / "models" / repo for repo in REPOS)
    commits = [commit(plain, data), commit(large, pointer)]
    stored = large / ".git" / "lfs" / "objects" / digest[:2] / digest[2:4] / digest
    stored.parent.mkdir(parents=True)
    stored.write_bytes(data)
    return dict(zip(REPOS, commits))


def commit(directory, content):
    """Commit `content` as the checkpoint file of a new git repository; the 40 hex digits."""
    directory.mkdir(parents=True)
    (directory / CHECKPOINT_FILE).write_bytes(content)
    names = {f"GIT_{who}_{what}": "tester@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*arguments):
        return subprocess.check_output(["git", *arguments], cwd=directory, env=environment, text=True).strip()

    git("init", "--quiet")
    git("add", CHECKPOINT_FILE)
    git("commit", "--quiet", "--message", "A checkpoint")
    return git("rev-parse", "HEAD")


@pytest.fixture(scope="module")
def endpoint(root, commits):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (root / "olah.toml").write_text(CONFIG.format(port=port, root=root.as_posix()))
    command = [sys.executable, "-m", "olah.server", "--config", "olah.toml", "--log-path", "logs"]
    with (
        open(root / "output.txt", "w") as output,
        subprocess.Popen(command, cwd=root, stdout=output, stderr=output) as server,
    ):
        try:
            wait_for(server, port, root / "output.txt")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


def wait_for(server, port, output):
    """Return once the server takes connections."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"olah does not serve:\n{output.read_text()}")


@pytest.fixture
def options(endpoint, tmp_path):
    return {"endpoint": endpoint, "cache_dir": tmp_path, "token": False}


@pytest.mark.parametrize("repo", REPOS)
def test_a_checkpoint_arrives_to_the_bit(checkpoint, commits, options, repo):
    name = f"{repo}@{commits[repo]}"
    loaded, local = (
        sampler.state_dict() for sampler in (idgan.load(name, device="cpu", **options), read_checkpoint(checkpoint))
    )
    assert loaded.keys() == local.keys()
    for key, tensor in local.items():
        assert loaded[key].dtype == tensor.dtype and loaded[key].shape == tensor.shape
        assert loaded[key].numpy().tobytes() == tensor.numpy().tobytes()
    assert zoo.resolve(name, **options, local_files_only=True).path.read_bytes() == checkpoint.read_bytes()


def test_a_damaged_copy_of_a_large_file_is_fetched_again(checkpoint, commits, options):
    """The hash it is held to is the one that olah states."""
    name = f"org/large@{commits['org/large']}"
    path = zoo.resolve(name, **options).path
    data = checkpoint.read_bytes()
    path.resolve().write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert zoo.resolve(name, **options).path.read_bytes() == data
