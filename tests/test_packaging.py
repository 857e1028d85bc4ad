"""However the package gets onto a machine, it finds its manifest and its embedded weights."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from idgan.evaluation.extractors import DSPRITES_CONVNET

CHECKOUT = Path(__file__).resolve().parents[1]
SHIPPED = (
    "idgan",
    "hubconf.py",
    "weights_manifest.json",
    "setup.cfg",
    "setup.py",
    "pyproject.toml",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
)
MAIN_JOB = """
import sys, pathlib, idgan
from idgan.zoo.manifest import package_manifest
for name in idgan.list_models(status="released"):
    if idgan.info(name)["weights"].get("embedded"):
        sampler = idgan.load(name, device="cpu")
        assert sampler.sample(n=2, seed=0).shape == (2, sampler.image_channels, sampler.resolution, sampler.resolution)
        print(name)
print("home", pathlib.Path(idgan.__file__).parent)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what is in the repository, so that building leaves nothing in the checkout."""
    if not (CHECKOUT / "setup.cfg").exists():
        pytest.skip("not a checkout")
    copy = tmp_path_factory.mktemp("source")
    for name in SHIPPED:
        item = CHECKOUT / name
        if item.is_dir():
            shutil.copytree(item, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(item, copy / name)
    if (CHECKOUT / "weights").is_dir():
        shutil.copytree(CHECKOUT / "weights", copy / "weights")
    return copy


@pytest.fixture(scope="module")
def built(source, tmp_path_factory):
    """(wheel, sdist), built from the copy with the build tools at hand: no network."""
    pytest.importorskip("build")
    out = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source], cwd=out)
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


def run(command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def main_job(path, tmp_path, python=sys.executable):
    """Run the main job with the package at `path`. Returns (embedded names, where idgan was imported from)."""
    environment = {name: value for name, value in os.environ.items() if name not in ("IDGAN_MANIFEST", "PYTHONPATH")}
    environment |= {"PYTHONPATH": str(path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    *names, home = run([python, "-c", MAIN_JOB], cwd=tmp_path, env=environment).splitlines()
    return names, Path(home.removeprefix("home "))


def embedded():
    """Names of the checkpoints inside the package; the feature network beside them is no checkpoint."""
    return sorted(
        path.stem
        for path in (CHECKOUT / "idgan" / "weights").glob("*.safetensors")
        if path.stem != DSPRITES_CONVNET.stem
    )


@pytest.mark.slow
def test_weights_beside_the_package_are_in_the_sdist_alone(source, tmp_path):
    pytest.importorskip("build")
    copy = shutil.copytree(source, tmp_path / "source")
    for checkpoint in (copy / "idgan" / "weights").glob("*.safetensors"):
        checkpoint.unlink()
    (copy / "weights").mkdir(exist_ok=True)
    (copy / "weights" / "large.safetensors").write_bytes(b"large")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", copy], cwd=tmp_path)
    with zipfile.ZipFile(next((tmp_path / "dist").glob("*.whl"))) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".safetensors")]
    shutil.unpack_archive(next((tmp_path / "dist").glob("*.tar.gz")), tmp_path / "unpacked")
    assert next((tmp_path / "unpacked").glob("*/weights/large.safetensors")).read_bytes() == b"large"


def test_wheel_holds_manifest_and_weights_and_works(built, tmp_path):
    wheel, _ = built
    assert wheel.stat().st_size < 40e6
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert "idgan/weights_manifest.json" in names
    assert f"idgan/weights/{DSPRITES_CONVNET.name}" in names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "examples", "runs"))]
    found, home = main_job(tmp_path / "site", tmp_path)
    assert home == tmp_path / "site" / "idgan"
    assert found == embedded()


def test_sdist_is_a_checkout_that_works(built, tmp_path):
    _, sdist = built
    shutil.unpack_archive(sdist, tmp_path)
    unpacked = next(tmp_path.glob("idgan-*"))
    assert (unpacked / "hubconf.py").exists()
    found, home = main_job(unpacked, tmp_path)
    assert home == unpacked / "idgan"
    assert found == embedded()


def test_editable_install_works(source, tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
    # The libraries of this environment, but for an idgan that may be installed in it.
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for item in Path(sysconfig.get_path("purelib")).iterdir():
        if not item.name.startswith(("idgan", "__editable__")):
            (libraries / item.name).symlink_to(item)
    Path(site, "libraries.pth").write_text(f"{libraries}\n")
    run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", source],
        cwd=tmp_path,
    )
    found, home = main_job("", tmp_path, python)
    assert home == source / "idgan"
    assert found == embedded()
    assert "Usage: idgan" in run([tmp_path / "venv" / "bin" / "idgan", "--help"])


def test_torch_hub_works_from_an_archive_without_the_package_installed(source, tmp_path):
    """As torch.hub does it: unpacked in its directory, not installed; list and help find it there without a request."""
    repository = shutil.copytree(source, tmp_path / "owner_idgan_main")
    job = f"""
import sys, torch, pathlib
torch.hub.set_dir({str(tmp_path)!r})
known = dict(skip_validation=True, trust_repo=True)
print(*sorted(torch.hub.list("owner/idgan:main", verbose=False, **known)))
for name in sys.argv[1:]:
    assert "Status: released" in torch.hub.help("owner/idgan:main", name, **known)
    for place in (
        dict(repo_or_dir="owner/idgan:main", verbose=False, **known),
        dict(repo_or_dir={str(repository)!r}, source="local"),
    ):
        sampler = torch.hub.load(model=name, device="cpu", **place)
        assert name.replace("_", "-") == sampler.info["name"]
torch.hub.load({str(repository)!r}, "celeba_64", source="local", pretrained=False)
print(pathlib.Path(sys.modules["idgan"].__file__).parent)
"""
    names, home = run(
        [sys.executable, "-c", job, *[name.replace("-", "_") for name in embedded()]], cwd=tmp_path
    ).splitlines()
    assert Path(home) == repository / "idgan"
    manifest = json.loads((source / "weights_manifest.json").read_text())
    assert names.split() == sorted(name.replace("-", "_") for name in manifest["models"])
