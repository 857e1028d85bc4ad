"""The manifest: what it refuses, how it is merged, found and written. Every refusal names the entry and the field."""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idgan.errors import ManifestError, UnknownModelError
from idgan.zoo.entries import Entry
from idgan.zoo.manifest import Manifest, package_manifest, write_entry
from idgan.zoo.untrusted import MAX_BYTES

ROOT = Path(__file__).parents[2]
RECIPE = {
    "status": "recipe",
    "description": "Squares",
    "license": "Apache-2.0",
    "data": {"name": "squares", "license": "CC0-1.0"},
    "resolution": 64,
    "image_channels": 1,
    "c_dim": 10,
    "s_dim": 0,
    "model": None,
    "weights": None,
    "training": None,
    "metrics": [],
}
RESULT = {
    "name": "mig",
    "value": 0.5,
    "protocol": "ours",
    "samples": 100,
    "seed": None,
    "versions": {"idgan": "0"},
    "confidence": 0.1,
}
RELEASED = {
    **RECIPE,
    "status": "released",
    "weights": {
        "file": "squares.safetensors",
        "sha256": "a" * 64,
        "bytes": 7,
        "repo": "org/squares",
        "revision": "b" * 40,
    },
    "training": {
        "recipe": "squares",
        "command": "idgan train squares",
        "seed": 0,
        "steps": 3,
        "versions": {},
        "hardware": "a CPU",
        "wall_time_seconds": 1.5,
        "note": {"free": ["form"]},
    },
    "metrics": [RESULT],
}


def write(path, models, schema=1):
    path.write_text(json.dumps({"schema": schema, "models": models}))
    return path


def changed(entry, where, value):
    """A copy of `entry` with the field at the dotted path `where` replaced; `...` deletes it."""
    entry = copy.deepcopy(entry)
    *outer, last = where.split(".")
    target = entry
    for part in outer:
        target = target[int(part) if part.isdigit() else part]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return entry


def test_package_manifest_has_the_papers_checkpoints():
    manifest = Manifest.read(package_manifest())
    synthetic = {"dsprites", "color-dsprites", "noisy-dsprites", "scream-dsprites"}
    sides = {
        "celeba-64": 64,
        "celeba-64-w16": 64,
        "cars-64-w32": 64,
        "celeba-64-w32": 64,
        "celeba-64-w64": 64,
        "celeba-128-w16": 128,
        "celeba-128": 128,
        "celeba-256": 256,
        "celebahq-1024": 1024,
        "chairs-64": 64,
        "cars-64": 64,
    }
    assert set(manifest.names()) >= synthetic | set(sides)
    s_dims = {"dsprites": 8, "color-dsprites": 8, "noisy-dsprites": 64, "scream-dsprites": 8}
    for name in synthetic:
        entry, channels, s_dim = manifest[name], 1 if name == "dsprites" else 3, s_dims[name]
        assert (entry.resolution, entry.image_channels, entry.c_dim, entry.s_dim) == (64, channels, 10, s_dim)
    for name, side in sides.items():
        entry = manifest[name]
        assert (entry.resolution, entry.image_channels, entry.c_dim, entry.s_dim) == (side, 3, 20, 256)


def test_package_manifest_is_formatted_as_write_entry_does(tmp_path):
    again = tmp_path / "again.json"
    manifest = Manifest.read(package_manifest())
    for name in reversed(manifest.names()):
        write_entry(again, name, manifest[name])
    assert again.read_bytes() == package_manifest().read_bytes()


@pytest.mark.parametrize(
    "entry",
    [
        RECIPE,
        RELEASED,
        changed(RELEASED, "weights", {**RELEASED["weights"], "repo": None, "revision": None, "embedded": True}),
        changed(RELEASED, "weights", {**RELEASED["weights"], "repo": None, "revision": None, "beside": True}),
        {
            **RELEASED,
            "data": {**RELEASED["data"], "id": "squares"},
            "recipe_steps": {"vae": 5},
            "active_dims": [1, 0],
            "dim_kl": [0.5, 2],
            "parameters": {"vae": 7},
        },
    ],
)
def test_an_entry_survives_writing_and_reading(tmp_path, entry):
    path = write(tmp_path / "in.json", {"squares": entry})
    write_entry(tmp_path / "out.json", "squares", Manifest.read(path)["squares"])
    assert Manifest.read(tmp_path / "out.json") == Manifest.read(path)
    expected = {**entry, "weights": entry["weights"] and {k: v for k, v in entry["weights"].items() if v is not None}}
    assert json.loads((tmp_path / "out.json").read_text())["models"]["squares"] == expected


BREAKS = [
    ("status", "done"),
    ("status", ...),
    ("description", ""),
    ("description", "two\nlines"),
    ("license", "do what you like"),
    ("license", None),
    ("data", "squares"),
    ("data.license", ...),
    ("data.name", 3),
    ("resolution", 64.0),
    ("resolution", True),
    ("resolution", "64"),
    ("image_channels", 2),
    ("c_dim", 0),
    ("s_dim", -1),
    ("s_dim", ...),
    ("weights", None),
    ("weights", []),
    ("weights.sha256", "A" * 64),
    ("weights.sha256", "a" * 63),
    ("weights.sha256", "a" * 64 + "\n"),
    ("weights.bytes", 0),
    ("weights.bytes", ...),
    ("weights.revision", "main"),
    ("weights.revision", ...),
    ("weights.repo", ...),
    ("weights.repo", "squares"),
    ("weights.repo", "../squares"),
    ("weights.repo", "org/.."),
    ("weights.repo", "org/a/b"),
    ("weights.embedded", True),
    ("weights.embedded", 1),
    ("weights.beside", True),
    ("data.id", ""),
    ("recipe_steps", {"vae": -1}),
    ("recipe_steps", [5]),
    ("active_dims", [-1]),
    ("active_dims", "1"),
    ("dim_kl", ["0.5"]),
    ("parameters", {"vae": True}),
    ("training", None),
    ("training", "by hand"),
    ("training.command", ...),
    ("metrics", {}),
    ("metrics.0.protocol", ...),
    ("metrics.0.value", "0.5"),
    ("metrics.0.samples", 0),
]


@pytest.mark.parametrize(("where", "value"), BREAKS)
def test_a_broken_field_is_named_with_its_entry(tmp_path, where, value):
    path = write(tmp_path / "m.json", {"squares": changed(RELEASED, where, value)})
    with pytest.raises(ManifestError) as error:
        Manifest.read(path)
    message = str(error.value)
    assert str(path) in message
    assert "'squares'" in message
    assert where.split(".")[-1] in message


@pytest.mark.parametrize(
    "file",
    ["../a.safetensors", "/a.safetensors", "a/b.safetensors", "a\\b.safetensors", "C:\\a.safetensors",
     "a\0.safetensors", "a..safetensors", ".a.safetensors", "a.safetensors\n", "", "a.pt", "a.bin",
     "x" * 300 + ".safetensors", 7],
)  # fmt: skip
def test_a_file_name_cannot_leave_its_folder(tmp_path, file):
    with pytest.raises(ManifestError, match="'file'"):
        Manifest.read(write(tmp_path / "m.json", {"squares": changed(RELEASED, "weights.file", file)}))


def test_a_recipe_has_no_weights(tmp_path):
    with pytest.raises(ManifestError, match=r"'squares'.*'weights' must be null"):
        Manifest.read(write(tmp_path / "m.json", {"squares": {**RELEASED, "status": "recipe"}}))


def test_an_unknown_field_is_an_error_that_names_the_nearest(tmp_path):
    with pytest.raises(ManifestError, match=r"'licens'.*did you mean 'license'"):
        Manifest.read(write(tmp_path / "m.json", {"squares": {**RECIPE, "licens": "MIT"}}))


def test_a_manifest_of_an_older_version_is_read(tmp_path):
    old = {"licence" if name == "license" else name: value for name, value in RECIPE.items()}
    assert Manifest.read(write(tmp_path / "m.json", {"squares": old})) == Manifest({"squares": Entry.from_json(RECIPE)})


@pytest.mark.parametrize("number", [10**400, 10**30, -(10**30), 2**63])
@pytest.mark.parametrize("where", ["resolution", "c_dim", "training.seed", "training.steps", "metrics"])
def test_numbers_too_large_for_any_use_are_refused(tmp_path, where, number):
    value = [{**RESULT, "value": number}] if where == "metrics" else number
    with pytest.raises(ManifestError, match=r"m\.json: not valid JSON: the number '-?\d+.* is too large"):
        Manifest.read(write(tmp_path / "m.json", {"squares": changed(RELEASED, where, value)}))
    if where == "metrics":
        with pytest.raises(ManifestError, match=r"metrics\[0\].value"):
            Entry.from_json(changed(RELEASED, where, value))


def test_a_damaged_manifest_names_the_file_and_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "bad\nname.json"
    path.write_text("{")
    monkeypatch.setenv("IDGAN_MANIFEST", str(path))
    with pytest.raises(ManifestError, match=r"bad\\nname.json: .*Repair the file, or take it out of IDGAN_MANIFEST"):
        Manifest.load()


@pytest.mark.parametrize("name", ["Squares", "squares_64", "../squares", "", "a b", "-a"])
def test_names_are_lower_case_letters_digits_and_dashes(tmp_path, name):
    with pytest.raises(ManifestError, match="names have at most 100 lower-case letters, digits and dashes"):
        Manifest.read(write(tmp_path / "m.json", {name: RECIPE}))
    with pytest.raises(ManifestError, match="names have at most 100 lower-case letters, digits and dashes"):
        write_entry(tmp_path / "new.json", name, Entry.from_json(RECIPE))
    assert not (tmp_path / "new.json").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid JSON"),
        ("[]", "a manifest is an object"),
        ('{"schema": 1}', "a manifest is an object"),
        ('{"schema": 2, "models": {}}', "newer idgan"),
        ('{"schema": true, "models": {}}', "schema"),
        ('{"schema": 1, "models": {}, "schema": 1}', "'schema' appears twice"),
        ('{"schema": 1, "models": {"a": {"status": "recipe", "status": "recipe"}}}', "'status' appears twice"),
        ('{"schema": 1, "models": {"a": NaN}}', "not finite"),
        ('{"schema": 1, "models": {"a": 1e999}}', "not finite"),
        ("[" * 100_000, "not valid JSON"),
        ('{"schema": ' + "1" * 5000 + ', "models": {}}', "not valid JSON"),
        ("\xff", "not valid JSON"),
        (" " * (MAX_BYTES + 1), "bytes are more than"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path, text, said):
    path = tmp_path / "m.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ManifestError, match=said):
        Manifest.read(path)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = sorted(
    {
        *RELEASED,
        "data.name",
        *(f"weights.{name}" for name in RELEASED["weights"]),
        "training.seed",
        "metrics.0.value",
        "new",
    }
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.sampled_from(FIELDS), value=JSON)
def test_any_value_in_any_field_is_read_back_alike_or_refused(tmp_path, where, value):
    path = write(tmp_path / "m.json", {"squares": changed(RELEASED, where, value)})
    try:
        manifest = Manifest.read(path)
    except ManifestError:
        return
    write_entry(tmp_path / "again.json", "squares", manifest["squares"])
    assert Manifest.read(tmp_path / "again.json") == manifest


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 2000), length=st.integers(0, 40), junk=st.binary(max_size=8))
def test_damaged_bytes_are_read_or_refused(tmp_path, start, length, junk):
    whole = json.dumps({"schema": 1, "models": {"squares": RELEASED}}).encode()
    path = tmp_path / "m.json"
    path.write_bytes(whole[:start] + junk + whole[start + length :])
    try:
        Manifest.read(path)
    except ManifestError as error:
        assert str(path) in str(error)  # noqa: PT017 (either outcome is right)


def test_an_unknown_model_lists_the_names_and_the_nearest():
    with pytest.raises(UnknownModelError, match="did you mean 'dsprites'") as error:
        Manifest.load()["dSprite"]
    assert "celeba-128" in str(error.value)
    for name in (None, [], "x" * 10**5):
        with pytest.raises(UnknownModelError):
            Manifest.load()[name]


def test_a_users_manifests_add_and_replace(tmp_path, monkeypatch):
    first = write(tmp_path / "first.json", {"dsprites": {**RECIPE, "description": "mine"}})
    second = write(tmp_path / "second.json", {"dsprites": {**RECIPE, "description": "other"}, "squares": RELEASED})
    monkeypatch.setenv("IDGAN_MANIFEST", f"{first}{os.pathsep}{second}")
    manifest = Manifest.load()
    assert manifest["dsprites"].description == "mine"
    assert manifest["squares"].weights.repo == "org/squares"
    assert "celeba-64" in manifest.names()
    assert manifest.names() == sorted(manifest.names())
    monkeypatch.setenv("IDGAN_MANIFEST", str(tmp_path / "missing.json"))
    with pytest.raises(ManifestError, match=r"missing\.json"):
        Manifest.load()


def test_write_entry_replaces_one_and_keeps_the_rest(tmp_path):
    path = write(tmp_path / "m.json", {"b": RECIPE, "a": RELEASED})
    write_entry(path, "b", Entry.from_json({**RECIPE, "description": "new"}))
    manifest = Manifest.read(path)
    assert manifest["b"].description == "new"
    assert manifest["a"] == Entry.from_json(RELEASED)
    assert list(json.loads(path.read_text())["models"]) == ["a", "b"]
    before = path.read_bytes()
    with pytest.raises(ManifestError):
        write_entry(path, "c", Entry.from_json(changed(RELEASED, "training.note", {"loss": float("nan")})))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.json"]


@pytest.mark.parametrize("inside", [True, False])
def test_the_package_finds_its_manifest_in_a_wheel_and_in_a_checkout(tmp_path, inside):
    package = tmp_path / "idgan"
    (package / "zoo").mkdir(parents=True)
    for name in ("dims.py", "errors.py", "files.py", "zoo/entries.py", "zoo/manifest.py", "zoo/untrusted.py"):
        shutil.copy(ROOT / "idgan" / name, package / name)
    (package / "__init__.py").touch()
    (package / "zoo" / "__init__.py").touch()
    path = write((package if inside else tmp_path) / "weights_manifest.json", {"squares": RECIPE})
    program = "from idgan.zoo.manifest import *; import sys; "
    program += "print(package_manifest(), Manifest.load().names(), 'torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == f"{path} ['squares'] False"


def test_who_reads_only_the_manifest_imports_no_torch():
    script = "import sys, idgan.zoo.manifest; "
    script += "print([name for name in ('torch', 'numpy', 'huggingface_hub') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
