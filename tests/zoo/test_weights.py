"""The checkpoint file: what goes in comes out, to the bit; what is not a checkpoint is refused, whatever it is."""

import copy
import json
import math
import os
import pickle
import re
import resource
import struct
import subprocess
import sys
from dataclasses import dataclass

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn

from idgan.errors import CheckpointError
from idgan.networks import (
    ConvGeneratorConfig,
    ModelConfig,
    NuisanceEncoderConfig,
    Posterior,
    ResNetGeneratorConfig,
    VAEConfig,
)
from idgan.sampler import Sampler
from idgan.zoo.weights import FORMAT, golden_differences, read_checkpoint, write_checkpoint

INFO = {"name": "small", "data": "dsprites", "training": {"seed": 0, "steps": {"vae": 1, "gan": 2}, "note": "é"}}


def build(c_dim=3, s_dim=2, channels=1, reads_s=False):
    mean, logvar = torch.randn(8, c_dim), torch.randn(8, c_dim)
    mean[:, 1], logvar[:, 1] = 0.0, 0.0
    reader = NuisanceEncoderConfig(s_dim, channels) if reads_s else None
    config = ModelConfig(VAEConfig(c_dim, channels), ConvGeneratorConfig(c_dim, s_dim, channels), reader)
    return Sampler(config, bank=Posterior(mean, logvar), info=INFO)


@pytest.fixture(scope="module")
def sampler():
    torch.manual_seed(0)
    return build()


@pytest.fixture(scope="module")
def path(sampler, tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model.safetensors", sampler)


@pytest.fixture
def parts(path):
    """(tensors, metadata) of the valid file, to be spoiled; `save(tensors, metadata)` writes them."""
    with safe_open(path, framework="pt") as file:
        return safetensors.torch.load_file(path), file.metadata()


@pytest.fixture
def save(tmp_path):
    def write(tensors, metadata):
        safetensors.torch.save_file(tensors, tmp_path / "spoiled.safetensors", metadata)
        return tmp_path / "spoiled.safetensors"

    return write


# ------------------------------------------------------------------ there and back


@pytest.mark.parametrize(
    ("s_dim", "channels", "reads_s"), [(0, 1, False), (2, 1, False), (1, 3, False), (2, 1, True), (1, 3, True)]
)
def test_a_checkpoint_comes_back_to_the_bit(tmp_path, s_dim, channels, reads_s):
    sampler = build(s_dim=s_dim, channels=channels, reads_s=reads_s)
    back = read_checkpoint(write_checkpoint(tmp_path / "model.safetensors", sampler))
    assert back.config == sampler.config
    assert back.info == INFO
    assert back.state_dict().keys() == sampler.state_dict().keys()
    assert all(torch.equal(back.state_dict()[name], tensor) for name, tensor in sampler.state_dict().items())
    assert torch.equal(back.bank.mean, sampler.bank.mean)
    assert torch.equal(back.bank.logvar, sampler.bank.logvar)
    assert back.active_dims == sampler.active_dims
    assert torch.equal(back.sample(n=3, seed=1), sampler.sample(n=3, seed=1))
    assert not any(parameter.requires_grad for parameter in back.parameters())


def test_the_same_sampler_makes_the_same_bytes(sampler, path, tmp_path):
    assert write_checkpoint(tmp_path / "again.safetensors", sampler).read_bytes() == path.read_bytes()
    assert write_checkpoint(tmp_path / "back.safetensors", read_checkpoint(path)).read_bytes() == path.read_bytes()


def test_writing_leaves_the_sampler_as_it_was(sampler, tmp_path):
    half = copy.deepcopy(sampler).to(torch.bfloat16)
    back = read_checkpoint(write_checkpoint(tmp_path / "half.safetensors", half))
    assert half.dtype == torch.bfloat16
    assert back.dtype == torch.float32
    assert torch.equal(back.bank.mean, sampler.bank.mean)


def test_a_loaded_sampler_does_not_depend_on_its_file(path, tmp_path):
    """Tensors that are mapped from the file would kill the process with SIGBUS when the file is truncated."""
    victim = tmp_path / "victim.safetensors"
    victim.write_bytes(path.read_bytes())
    code = (
        "import os, sys; from idgan.zoo.weights import read_checkpoint; g = read_checkpoint(sys.argv[1]); "
        "os.truncate(sys.argv[1], 0); print(g.sample(n=1).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(victim)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "torch.Size([1, 1, 64, 64])\n"), done.stderr


# ------------------------------------------------------------------ goldens


def test_goldens_agree_with_the_networks_that_made_them(path):
    assert all(difference < 1e-6 for difference in golden_differences(path).values())


@pytest.mark.parametrize(
    ("weight", "differing"),
    [
        ("generator.layers.0.bias", {"images"}),
        ("vae.decoder.2.weight", {"decoded"}),
        ("vae.encoder.0.weight", {"mean"}),
        ("golden.c", {"images", "decoded"}),
        ("golden.s", {"images"}),
        ("golden.images", {"images", "mean"}),
        ("golden.mean", {"mean"}),
    ],
)
def test_goldens_show_what_was_changed(parts, save, weight, differing):
    tensors, metadata = parts
    tensors[weight] = tensors[weight] + 0.5
    differences = golden_differences(save(tensors, metadata))
    assert {name for name, difference in differences.items() if difference > 1e-5} == differing


def test_goldens_of_a_nuisance_encoder(save, tmp_path):
    path = write_checkpoint(tmp_path / "model.safetensors", build(reads_s=True))
    assert golden_differences(path).keys() == {"images", "decoded", "mean", "s_mean"}
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    for weight in "nuisance_encoder.0.weight", "golden.s_mean":
        tensors = safetensors.torch.load_file(path)
        tensors[weight] += 0.5
        differences = golden_differences(save(tensors, metadata))
        assert [name for name, difference in differences.items() if difference > 1e-5] == ["s_mean"]
        del tensors[weight]
        refused(save(tensors, metadata), weight)


@pytest.mark.parametrize("spoil", [lambda c: c[:2], lambda c: c.half(), lambda c: c * float("nan"), lambda c: None])
def test_malformed_goldens_are_refused(parts, save, spoil):
    tensors, metadata = parts
    spoiled = spoil(tensors.pop("golden.c"))
    path = save(tensors if spoiled is None else {**tensors, "golden.c": spoiled.contiguous()}, metadata)
    refused(path, "golden.c")


def test_a_file_without_goldens_loads_and_does_not_verify(parts, save, sampler):
    tensors, metadata = parts
    path = save({name: tensor for name, tensor in tensors.items() if not name.startswith("golden.")}, metadata)
    assert torch.equal(read_checkpoint(path).sample(n=1, seed=0), sampler.sample(n=1, seed=0))
    with pytest.raises(CheckpointError, match="no golden outputs"):
        golden_differences(path)


# ------------------------------------------------------------------ networks of a user's own


class OwnVAE(nn.Module):
    """An encoder without a decoder. It has BatchNorm's counter, and a buffer that is in no state dict."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.layers = nn.Sequential(nn.AvgPool2d(8), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 2 * config.c_dim))
        self.register_buffer("scale", torch.full((1,), 2.0), persistent=False)

    def encode(self, x):
        mean, logvar = (self.scale * self.layers(x)).float().chunk(2, dim=1)
        return Posterior(mean, logvar)


@dataclass(frozen=True)
class OwnConfig(VAEConfig):
    def build(self):
        return OwnVAE(self)


@pytest.fixture
def own(monkeypatch):
    """A sampler with a registered network of another package than idgan."""
    networks = pytest.importorskip("idgan.networks.modules")
    if not hasattr(networks, "NETWORKS"):
        pytest.skip("networks cannot be registered yet")
    networks.NETWORKS.add("OwnConfig", OwnConfig)
    sampler = Sampler(ModelConfig(OwnConfig(3), ConvGeneratorConfig(3, 2)), info={"name": "own"})
    sampler.vae.layers[1].num_batches_tracked.fill_(7)
    return sampler


def test_networks_of_a_users_own_come_back_to_the_bit(own, tmp_path):
    path = write_checkpoint(tmp_path / "own.safetensors", own)
    before = torch.get_rng_state()
    back = read_checkpoint(path)
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(back.vae, OwnVAE)
    assert all(torch.equal(back.state_dict()[name], tensor) for name, tensor in own.state_dict().items())
    assert back.vae.layers[1].num_batches_tracked.item() == 7
    assert back.vae.scale.item() == 2
    x = torch.rand(2, 1, 64, 64)
    assert torch.equal(back.vae.encode(x).mean, own.vae.encode(x).mean)
    differences = golden_differences(path)
    assert set(differences) == {"images", "mean"} and max(differences.values()) < 1e-6
    assert write_checkpoint(tmp_path / "again.safetensors", back).read_bytes() == path.read_bytes()


def test_a_counter_of_another_type_is_refused(own, tmp_path, save):
    path = write_checkpoint(tmp_path / "own.safetensors", own)
    tensors = safetensors.torch.load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    name = "vae.layers.1.num_batches_tracked"
    refused(
        save({**tensors, name: tensors[name].float()}, metadata), rf"{name} must be int64 \(\), found torch.float32"
    )


def test_networks_that_are_not_registered_are_refused(own, tmp_path, save):
    path = write_checkpoint(tmp_path / "own.safetensors", own)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    metadata["config"] = metadata["config"].replace("OwnConfig", "OtherConfig")
    package = OwnConfig.__module__.partition(".")[0]
    refused(save(safetensors.torch.load_file(path), metadata), f"{package}.*import")


def test_weights_that_share_memory_are_written(sampler, tmp_path):
    tied = copy.deepcopy(sampler)
    tied.vae.encoder[4].bias = tied.vae.encoder[6].bias
    back = read_checkpoint(write_checkpoint(tmp_path / "tied.safetensors", tied))
    assert torch.equal(back.vae.encoder[4].bias, tied.vae.encoder[6].bias)


# ------------------------------------------------------------------ what is refused


def refused(path, message):
    for read in (read_checkpoint, golden_differences):
        with pytest.raises(CheckpointError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "spoil",
    {
        "empty": lambda data: b"",
        "one byte": lambda data: b"\0",
        "short header": lambda data: data[:100],
        "truncated": lambda data: data[:-1],
        "half": lambda data: data[: len(data) // 2],
        "trailing": lambda data: data + b"\0",
        "leading": lambda data: b"\0" + data,
        "header too large": lambda data: struct.pack("<Q", 2**63) + data[8:],
        "web page": lambda data: b"<!DOCTYPE html>\n<html><body>Not found</body></html>",
        "pickle": lambda data: pickle.dumps({"vae": [1.0]}),
        "zip": lambda data: b"PK\x03\x04" + data,
        "not UTF-8": lambda data: data[:8] + b"\xff" * 20 + data[28:],
    }.items(),
    ids=lambda item: item[0],
)
def test_files_that_are_not_safetensors(path, tmp_path, spoil):
    spoiled = tmp_path / "spoiled.safetensors"
    spoiled.write_bytes(spoil[1](path.read_bytes()))
    refused(spoiled, "is not a whole safetensors file")


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "none.safetensors")


@pytest.mark.parametrize("format", [None, "pt", "idgan-2"])
def test_other_formats(parts, save, format):
    tensors, metadata = parts
    metadata = {**metadata, "format": format} if format else None
    refused(save(tensors, metadata), re.escape(f"is not an idgan checkpoint (format {format!r}, not 'idgan-1')"))


WEIGHT = "generator.layers.0.weight"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({WEIGHT: None}, rf"tensors missing: \['{WEIGHT}'\]; not expected: none"),
        ({"vae.extra": torch.zeros(1)}, r"tensors missing: none; not expected: \['vae.extra'\]"),
        ({"extra": torch.zeros(1)}, r"not expected: \['extra'\]"),
        ({"bank.mean": None}, r"tensors missing: \['bank.mean'\]"),
        ({WEIGHT: torch.zeros(256, 4)}, rf"{WEIGHT} must be float32 \(256, 5\), found torch.float32 \(256, 4\)"),
        ({WEIGHT: torch.zeros(5, 256)}, "must be float32"),
        ({WEIGHT: torch.zeros(256, 5, dtype=torch.float64)}, "found torch.float64"),
        ({WEIGHT: torch.zeros(256, 5, dtype=torch.bfloat16)}, "found torch.bfloat16"),
        ({WEIGHT: torch.zeros(256, 5, dtype=torch.int32)}, "found torch.int32"),
        ({WEIGHT: torch.full((256, 5), float("nan"))}, f"{WEIGHT} has values that are not finite"),
        ({"bank.logvar": torch.full((8, 3), float("-inf"))}, "bank.logvar has values that are not finite"),
        ({"bank.mean": torch.zeros(8, 4)}, r"bank.mean must be float32 \(8, 3\), found torch.float32 \(8, 4\)"),
        ({"bank.mean": torch.zeros(7, 3)}, r"bank.logvar must be float32 \(7, 3\)"),
        ({"bank.mean": torch.zeros(())}, "bank"),
        (
            {WEIGHT: torch.full((256, 5), 3e38)},
            f"{WEIGHT} has values from 3e\\+38 to 3e\\+38; accepted are -1e\\+06 to 1e\\+06",
        ),
        ({"bank.logvar": torch.full((8, 3), 200.0)}, "bank.logvar has values from 200 to 200; accepted are -100 to 20"),
        ({"golden.more": torch.zeros(1)}, r"not expected: \['golden.more'\]"),
        ({f"{'n' * 500}{i}": torch.zeros(0) for i in range(9)}, r"not expected: \['n{100}', "),
        ({"bank.mean": torch.zeros(0, 3), "bank.logvar": torch.zeros(0, 3)}, "its bank of posteriors is empty"),
    ],
)
def test_tensors_that_do_not_fit(parts, save, changes, message):
    tensors, metadata = parts
    tensors = {name: tensor for name, tensor in (tensors | changes).items() if tensor is not None}
    refused(save(tensors, metadata), message)


VAE = {"type": "VAEConfig", "c_dim": 3, "image_channels": 1}
GENERATOR = {"type": "ConvGeneratorConfig", "c_dim": 3, "s_dim": 2, "image_channels": 1}


def described(vae=VAE, generator=GENERATOR, **changes):
    """A config as JSON; `changes` go into both networks."""
    return json.dumps({"vae": {**vae, **changes}, "generator": {**generator, **changes}})


@pytest.mark.parametrize(
    "config",
    [
        None,
        "",
        "null",
        "[]",
        "{}",
        "{",
        "NaN",
        '"' + "a" * 100_000,
        "[" * 200_000,
        '{"vae":' * 200_000,
        "1" * 100_000,
        json.dumps({"vae": VAE}),
        json.dumps({"vae": VAE, "generator": GENERATOR, "more": VAE}),
        json.dumps({"vae": [], "generator": GENERATOR}),
        described(c_dim=65_536),
        described(c_dim=2**40),
        described(c_dim=10**30),
        described(c_dim=-3),
        described(c_dim=0),
        described(c_dim=3.0),
        described(c_dim=True),
        described(c_dim="3"),
        described(c_dim=None),
        described(c_dim=[3]),
        described(image_channels=0),
        described(image_channels=3),
        described(vae={**VAE, "c_dim": 4}),
        described(vae={**VAE, "more": 1}),
        described(generator={**GENERATOR, "s_dim": 65_536}),
        described(vae={**VAE, "type": "os.method"}),
        described(type=[]),
        described(type={}),
        described(type=None),
        described(vae=GENERATOR),
        described(generator=VAE),
        described(
            {"type": "ConvDiscriminatorConfig", "image_channels": 1},
            {"type": "ConvDiscriminatorConfig", "image_channels": 1},
        ),
    ],
    ids=lambda config: str(config)[:80],
)
def test_hostile_configs(parts, save, config):
    tensors, metadata = parts
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    metadata = {key: value for key, value in (metadata | {"config": config}).items() if value is not None}
    refused(save(tensors, metadata), "metadata does not describe an idgan model|tensors missing|must be float32")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


def test_a_generator_in_the_place_of_the_vae(save):
    """Tensors and config agree with each other, but not with what a model is."""
    networks = {"vae": ConvGeneratorConfig(3, 2, 1).build(), "generator": ConvGeneratorConfig(3, 2, 1).build()}
    tensors = {
        f"{part}.{name}": tensor for part, network in networks.items() for name, tensor in network.state_dict().items()
    }
    tensors |= {"bank.mean": torch.zeros(1, 3), "bank.logvar": torch.zeros(1, 3)}
    metadata = {"format": FORMAT, "info": "{}", "config": described(vae=GENERATOR)}
    refused(save(tensors, metadata), "metadata does not describe an idgan model")


@pytest.mark.parametrize("info", [None, "", "[]", "3", "null", "{", "[" * 200_000], ids=lambda info: str(info)[:80])
def test_infos_that_are_no_objects(parts, save, info):
    tensors, metadata = parts
    metadata = {key: value for key, value in (metadata | {"info": info}).items() if value is not None}
    refused(save(tensors, metadata), "metadata does not describe an idgan model")


@pytest.mark.parametrize(
    "info",
    [
        {"training": ["x"]},
        {"training": 5},
        {"training": {"steps": 3}},
        {"training": {"untrained": 5}},
        {"name": 5},
        {"name": "a\nb"},
        {"name": "\ud800"},
        {"data": ["x"]},
        {"data": "\x1b[2J"},
    ],
    ids=str,
)
def test_infos_of_other_types(parts, save, info):
    tensors, metadata = parts
    path = save(tensors, {**metadata, "info": json.dumps(info)})
    refused(path, "metadata does not describe an idgan model")
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value).isprintable()


def with_header(path, data, change, grow=0):
    """Write the safetensors file `data` to `path` with its header changed, and `grow` zeros that take no disk."""
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8:end]), data[end:]
    change(header, len(body))
    header = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + body)
    os.truncate(path, path.stat().st_size + grow)
    return path


def test_a_surplus_tensor_costs_no_memory_and_no_time(path, tmp_path):
    def claim(header, size):
        header["golden.z"] = {"dtype": "U8", "shape": [2**38], "data_offsets": [size, size + 2**38]}

    sparse = with_header(tmp_path / "sparse.safetensors", path.read_bytes(), claim, grow=2**38)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(sparse, "not expected: .*golden.z")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes
    refused(with_header(tmp_path / "hole", path.read_bytes(), lambda *_: None, grow=2**38), "not a whole safetensors")


def test_many_empty_tensors_are_refused_by_their_header(path, tmp_path, monkeypatch):
    def crowd(header, size):
        header |= {f"e{i}": {"dtype": "F32", "shape": [0], "data_offsets": [size, size]} for i in range(50_000)}

    crowded = with_header(tmp_path / "crowded.safetensors", path.read_bytes(), crowd)
    monkeypatch.setattr(safetensors.torch, "load", None)
    refused(crowded, "not expected")
    monkeypatch.setattr("idgan.zoo.weights.MAX_HEADER_BYTES", 1_000_000)
    refused(crowded, "its header cannot have")


HEADERS = {
    "no shape": lambda header, size: header["bank.mean"].pop("shape"),
    "shape of text": lambda header, size: header["bank.mean"].update(shape=["x"]),
    "shape is a number": lambda header, size: header["bank.mean"].update(shape=5),
    "infinite shape": lambda header, size: header["bank.mean"].update(shape=[float("inf")]),
    "offset of text": lambda header, size: header["bank.mean"].update(data_offsets=["a", "b"]),
    "no offsets": lambda header, size: header["bank.mean"].update(data_offsets=[]),
    "an entry is a list": lambda header, size: header.update({"bank.mean": []}),
    "metadata is a list": lambda header, size: header.update({"__metadata__": [1]}),
    "type is a list": lambda header, size: header["bank.mean"].update(dtype=[]),
    "overlap": lambda header, size: header["bank.mean"].update(data_offsets=header["bank.logvar"]["data_offsets"]),
    "negative": lambda header, size: header["bank.mean"].update(data_offsets=[-96, 0]),
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_damaged_headers(path, tmp_path, change):
    refused(with_header(tmp_path / "spoiled.safetensors", path.read_bytes(), change), "is not a whole safetensors file")


def test_a_resolution_that_no_machine_renders_is_refused(parts, save):
    config = ResNetGeneratorConfig(resolution=8192, base_width=1, max_width=1, image_channels=1, c_dim=3, s_dim=2)
    tensors, metadata = parts
    metadata["config"] = json.dumps(ModelConfig(VAEConfig(3), config).to_dict())
    refused(save(tensors, metadata), "generator.resolution must be at most 4096, got 8192")


def test_a_device_is_not_read():
    with pytest.raises(CheckpointError, match="/dev/zero is not a file"):
        read_checkpoint("/dev/zero")


def test_a_path_that_cannot_be_printed_is_escaped(tmp_path, path):
    odd = tmp_path / os.fsdecode(b"caf\xe9\x1b.safetensors")
    odd.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(odd)
    assert r"caf\udce9\x1b.safetensors" in str(caught.value)


def test_absurd_weights_are_not_written(sampler, tmp_path):
    diverged = copy.deepcopy(sampler)
    diverged.bank.logvar.fill_(200)
    with pytest.raises(CheckpointError, match="bank.logvar"):
        write_checkpoint(tmp_path / "model.safetensors", diverged)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ fuzz


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_a_damaged_file_loads_or_is_refused(path, tmp_path, data):
    """With bytes changed anywhere, and cuts, a file brings a `CheckpointError` or a sampler that samples."""
    content = bytearray(path.read_bytes())
    header = 8 + struct.unpack("<Q", content[:8])[0]
    places = st.one_of(st.integers(0, header - 1), st.integers(0, header - 1), st.integers(0, len(content) - 1))
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)):
        content[place] = value
    if data.draw(st.integers(0, 9)) == 0:
        del content[data.draw(places) :]
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(content)
    for read in (read_checkpoint, golden_differences):
        try:
            result = read(damaged)
        except CheckpointError:
            continue
        if read is read_checkpoint:
            assert result.sample(n=1, seed=0).shape == (1, 1, 64, 64)


def hollow(path, header, body, size):
    """A safetensors file with `size` bytes after its header. Only `body` is on disk."""
    raw = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw + body)
        file.truncate(8 + len(raw) + size)
    return path


def test_offsets_that_claim_more_than_the_shape_are_refused_before_reading(path, tmp_path):
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8:end]), content[end:]
    last = max((entry for name, entry in header.items() if name != "__metadata__"), key=lambda e: e["data_offsets"])
    last["data_offsets"][1] += 1 << 20
    with pytest.raises(CheckpointError, match="its header is damaged"):
        read_checkpoint(hollow(tmp_path / "a.safetensors", header, body, len(body) + (1 << 20)))


def test_a_large_file_of_holes_is_refused_before_reading(path, tmp_path):
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    rows, end = 1 << 25, 0
    for name, entry in header.items():
        if name != "__metadata__":
            if name.startswith("bank."):
                entry["shape"][0] = rows
            size = 4 * math.prod(entry["shape"])
            entry["data_offsets"] = [end, end + size]
            end += size
    with pytest.raises(CheckpointError, match="hollow: most of its .* bytes are not on disk"):
        read_checkpoint(hollow(tmp_path / "a.safetensors", header, b"", end))
