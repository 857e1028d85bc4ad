"""The generator or the encoder as a file that other runtimes read, checked against the sampler before it takes its place."""

import copy
import tempfile
import warnings
from importlib import import_module
from pathlib import Path

import torch
from torch import nn

from idgan.errors import IdganError, InvalidInputError, MissingDependencyError
from idgan.files import write_atomically
from idgan.images import to_unit

__all__ = ["FORMATS", "PARTS", "export"]

TOLERANCE = 1e-4
"""How far an exported file may be off, in pixels of [0, 1] and units of the code."""
EXAMPLE_BATCH = 2
CHECKED_BATCHES = (1, 5)


def export(sampler, path, *, part="generator", format="onnx"):
    """Write one network of `sampler` to `path`, atomically, as a float32 program for the CPU that takes batches of any size.

    The file is run on `CHECKED_BATCHES` random inputs first; one that differs from the sampler never takes the place of `path`.

    Args:
        part: "generator": c (N, c_dim) and s (N, s_dim), or c alone where s_dim is 0 -> images (N, C, H, W) in [0, 1].
            "encoder": images (N, C, 64, 64) in [0, 1] -> mean and logvar, (N, c_dim) each.
        format: "onnx"; "torchscript" (`torch.jit.load`); "exported-program" (`torch.export.load`, by about the PyTorch that wrote it).

    Returns:
        {"path", "bytes", "inputs", "outputs", "differences"}: shapes by name, "N" for the batch; by output, the largest absolute difference
        between what the file and the sampler compute.

    Raises:
        InvalidInputError: there is no such part or format, or it is an encoder that nothing has trained.
        MissingDependencyError: ONNX needs the extra `export`.
        IdganError: the file computes something else than the sampler.
    """
    for name, value, known in (("part", part, PARTS), ("format", format, FORMATS)):
        if value not in known:
            raise InvalidInputError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    write, run = FORMATS[format]
    sampler = copy.deepcopy(sampler).cpu().float()
    network = PARTS[part](sampler)
    inputs, outputs = network.example(sampler, EXAMPLE_BATCH)
    with tempfile.TemporaryDirectory() as directory, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # PyTorch's, on the retirement of TorchScript and the internals of its exporters
        file = Path(directory) / "network.pt2"  # the one suffix that a reader insists on
        write(network, inputs, list(outputs), file)
        differences = dict.fromkeys(outputs, 0.0)
        for size in CHECKED_BATCHES:
            given, expected = network.example(sampler, size)
            for name, found in zip(expected, run(file, given)):
                differences[name] = max(differences[name], _difference(found, expected[name]))
        if max(differences.values()) > TOLERANCE:
            raise IdganError(
                f"{path} was not written: the {format} {part} differs from the sampler by {differences}; at most {TOLERANCE}"
            )
        write_atomically(path, file.read_bytes())
    shapes = [{name: ("N", *tensor.shape[1:]) for name, tensor in tensors.items()} for tensors in (inputs, outputs)]
    return {
        "path": str(path),
        "bytes": Path(path).stat().st_size,
        "inputs": shapes[0],
        "outputs": shapes[1],
        "differences": differences,
    }


def _difference(found, expected):
    """The largest absolute difference; infinite where shapes differ or a value is no number."""
    if found.shape != expected.shape or not found.isfinite().all():
        return float("inf")
    return (found - expected).abs().max().item()


# ------------------------------------------------------------------ parts


class GeneratorPart(nn.Module):
    """`Sampler.forward`: G(s, c) with images in [0, 1]."""

    def __init__(self, sampler):
        super().__init__()
        self.generator = sampler.generator

    def forward(self, c, s=None):
        return to_unit(self.generator(c if s is None else torch.cat([s, c], dim=1))).clamp(0, 1)

    @staticmethod
    def example(sampler, size):
        """Inputs by name, and what the sampler makes of them, by name."""
        c, s = sampler.codes(size, seed=size, prior="normal")
        return ({"c": c, "s": s} if sampler.s_dim else {"c": c}), {"images": sampler(c, s)}


class EncoderPart(nn.Module):
    """`VAE.encode`, without the decoder."""

    def __init__(self, sampler):
        super().__init__()
        self.encoder = sampler.vae.encoder

    def forward(self, images):
        return self.encoder(images).chunk(2, dim=1)

    @staticmethod
    def example(sampler, size):
        """Inputs by name, and what the sampler makes of them, by name. Decoded codes: images as the encoder knows them."""
        with torch.no_grad():
            images = sampler.vae.decode(sampler.codes(size, seed=size, prior="normal")[0])
        posterior = sampler.posterior(images)
        return {"images": images}, {"mean": posterior.mean, "logvar": posterior.logvar}


PARTS = {"generator": GeneratorPart, "encoder": EncoderPart}


# ------------------------------------------------------------------ formats


def _exported_program(network, inputs):
    """`network` as a graph with a free batch size."""
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network, tuple(inputs.values()), dynamic_shapes=tuple({0: batch} for _ in inputs))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it would tell the paths of this machine
    return program


def _write_exported_program(network, inputs, outputs, file):
    torch.export.save(_exported_program(network, inputs), file)


def _run_exported_program(file, inputs):
    return _listed(torch.export.load(file).module()(*inputs.values()))


def _write_torchscript(network, inputs, outputs, file):
    torch.jit.save(torch.jit.trace(network, tuple(inputs.values()), check_trace=False), file)


def _run_torchscript(file, inputs):
    return _listed(torch.jit.load(file)(*inputs.values()))


def _write_onnx(network, inputs, outputs, file):
    for library in ("onnx", "onnxscript", "onnxruntime"):
        _import(library)
    axes = ({0: "batch"}, *({} for _ in list(inputs)[1:]))  # a name for the batch; all inputs share it
    program = torch.onnx.export(
        _exported_program(network, inputs),
        dynamo=True,
        verbose=False,
        input_names=list(inputs),
        output_names=outputs,
        dynamic_shapes=axes,
    )
    file.write_bytes(program.model_proto.SerializeToString())


def _run_onnx(file, inputs):
    session = _import("onnxruntime").InferenceSession(file, providers=["CPUExecutionProvider"])
    return [
        torch.from_numpy(found)
        for found in session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    ]


def _listed(found):
    return [found] if isinstance(found, torch.Tensor) else list(found)


def _import(library):
    try:
        return import_module(library)
    except ImportError as error:
        raise MissingDependencyError(f"exporting to ONNX needs {library}: pip install 'idgan[export]'") from error


FORMATS = {
    "onnx": (_write_onnx, _run_onnx),
    "torchscript": (_write_torchscript, _run_torchscript),
    "exported-program": (_write_exported_program, _run_exported_program),
}
"""Format -> (function that writes a network to a file, function that runs the file on inputs by name)."""
