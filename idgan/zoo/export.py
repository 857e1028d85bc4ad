"""The generator or the encoder as a file for other runtimes, checked against the sampler before it is written."""

import copy
import io
import warnings
import zipfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from idgan.errors import IdganError, InvalidInputError, MissingDependencyError, missing_extra
from idgan.files import write_atomically
from idgan.images import to_unit
from idgan.rng import seeded_rng
from idgan.sampler import Sampler

__all__ = ["FORMATS", "PARTS", "export"]

TOLERANCE = 1e-4
"""Accepted difference between an exported file and the sampler: pixels in [0, 1], and units of the code."""
EXAMPLE_BATCH = 2
CHECKED_BATCHES = (1, 5)

Tensors = dict[str, torch.Tensor]


def export(sampler: Sampler, path: str | Path, *, part: str = "generator", format: str = "onnx") -> dict[str, Any]:
    """Write one network of `sampler` to `path` atomically, as a float32 program for the CPU and batches of any size.

    Before that, the file is run on random inputs of `CHECKED_BATCHES` sizes and compared with the sampler.

    Args:
        part: "generator" takes c (N, c_dim) and, if s_dim is not 0, s (N, s_dim), and returns images (N, C, H, W) in
            [0, 1]. "decoder" takes c and returns images (N, C, 64, 64), or of the VAE's own resolution. "encoder" takes
            images (N, C, 64, 64) in [0, 1], or of the encoder's own resolution. It returns mean and logvar, (N, c_dim)
            each.
        format: "onnx", "torchscript" (for `torch.jit.load`), or "exported-program" (for `torch.export.load` of a
            similar PyTorch).

    Returns:
        {"path", "bytes", "inputs", "outputs", "differences"}. Inputs and outputs map names to shapes, with "N" for the
        batch. Differences are the largest absolute differences from the sampler, by output.

    Raises:
        InvalidInputError: there is no such part or format, or the encoder or decoder is untrained.
        MissingDependencyError: ONNX needs the extra `export`.
        IdganError: the file computes something else than the sampler.
        OSError: the file cannot be written.
    """
    for name, value, known in (("part", part, list(PARTS)), ("format", format, list(FORMATS))):
        if value not in known:
            raise InvalidInputError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    sampler = copy.deepcopy(sampler).cpu().float()
    network = PARTS[part](sampler)
    inputs, outputs = network.example(sampler, EXAMPLE_BATCH)
    differences = dict.fromkeys(outputs, 0.0)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, about the end of TorchScript and the internals of its exporters
        content = FORMATS[format].write(network, inputs, list(outputs))
        for size in CHECKED_BATCHES:
            given, expected = network.example(sampler, size)
            for name, found in zip(expected, FORMATS[format].run(content, given)):
                differences[name] = max(differences[name], _difference(found, expected[name]))
    if max(differences.values()) > TOLERANCE:
        raise IdganError(
            f"{path} was not written: the {format} {part} differs from the sampler by {differences}; "
            f"at most {TOLERANCE} is accepted"
        )
    write_atomically(path, content)
    return {
        "path": str(path),
        "bytes": len(content),
        "inputs": _shapes(inputs),
        "outputs": _shapes(outputs),
        "differences": differences,
    }


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[Any, ...]]:
    return {name: ("N", *tensor.shape[1:]) for name, tensor in tensors.items()}


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest absolute difference. Infinite if shapes differ or a value is not finite."""
    if found.shape != expected.shape or not found.isfinite().all():
        return float("inf")
    return (found - expected).abs().max().item()


# ------------------------------------------------------------------ parts


class GeneratorPart(nn.Module):
    """`Sampler.forward`: G(s, c) with images in [0, 1]."""

    def __init__(self, sampler: Sampler) -> None:
        super().__init__()
        self.generator = sampler.generator

    def forward(self, c: torch.Tensor, s: torch.Tensor | None = None) -> torch.Tensor:
        return to_unit(self.generator(c if s is None else torch.cat([s, c], dim=1))).clamp(0, 1)

    @staticmethod
    def example(sampler: Sampler, size: int) -> tuple[Tensors, Tensors]:
        """Inputs by name, and the sampler's outputs by name."""
        c, s = sampler.codes(size, seed=size, prior="normal")
        return ({"c": c, "s": s} if sampler.s_dim else {"c": c}), {"images": sampler(c, s)}


class DecoderPart(nn.Module):
    """`Sampler.decode`. The module holds the whole VAE. The exported file has only what the decoder uses."""

    def __init__(self, sampler: Sampler) -> None:
        super().__init__()
        self.vae = sampler.vae

    def forward(self, c: torch.Tensor) -> torch.Tensor:
        images: torch.Tensor = self.vae.decode(c)
        return images

    @staticmethod
    def example(sampler: Sampler, size: int) -> tuple[Tensors, Tensors]:
        """Inputs by name, and the sampler's outputs by name."""
        c, _ = sampler.codes(size, seed=size, prior="normal")
        return {"c": c}, {"images": sampler.decode(c)}


class EncoderPart(nn.Module):
    """`vae.encode`, without the parts of the VAE that it does not use."""

    def __init__(self, sampler: Sampler) -> None:
        super().__init__()
        images = self.example(sampler, EXAMPLE_BATCH)[0]["images"]
        self.vae = _without_unused_children(sampler.vae, images)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        posterior = self.vae.encode(images)
        return posterior.mean, posterior.logvar

    @staticmethod
    def example(sampler: Sampler, size: int) -> tuple[Tensors, Tensors]:
        """Inputs by name, and the sampler's outputs by name. The images are random."""
        resolution = sampler.config.vae.resolution
        rng = seeded_rng(size)
        images = torch.rand(size, sampler.image_channels, resolution, resolution, generator=rng)
        posterior = sampler.posterior(images)
        return {"images": images}, {"mean": posterior.mean, "logvar": posterior.logvar}


def _without_unused_children(vae: Any, images: torch.Tensor) -> Any:
    """A copy of `vae` without the child modules that `encode` does not use, such as the decoder."""
    vae = copy.deepcopy(vae)
    children = {name: list(child.parameters()) for name, child in vae.named_children()}
    parameters = [p.requires_grad_() for group in children.values() for p in group if p.is_floating_point()]
    with torch.enable_grad():
        posterior = vae.encode(images)
        grads = torch.autograd.grad(posterior.mean.sum() + posterior.logvar.sum(), parameters, allow_unused=True)
    used = {id(p) for p, grad in zip(parameters, grads) if grad is not None}
    for name, group in children.items():
        if group and not any(id(p) in used for p in group):
            delattr(vae, name)
    return vae.requires_grad_(False)


PARTS: dict[str, Any] = {"generator": GeneratorPart, "decoder": DecoderPart, "encoder": EncoderPart}


# ------------------------------------------------------------------ formats


def _exported_program(network: nn.Module, inputs: Tensors) -> Any:
    """`network` as a graph with a free batch size."""
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network, tuple(inputs.values()), dynamic_shapes=tuple({0: batch} for _ in inputs))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it holds paths of this machine
    return program


def _write_exported_program(network: nn.Module, inputs: Tensors, outputs: list[str]) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(_exported_program(network, inputs), buffer)
    return buffer.getvalue()


def _run_exported_program(content: bytes, inputs: Tensors) -> list[torch.Tensor]:
    return _as_list(torch.export.load(io.BytesIO(content)).module()(*inputs.values()))


def _write_torchscript(network: nn.Module, inputs: Tensors, outputs: list[str]) -> bytes:
    buffer, public = io.BytesIO(), io.BytesIO()
    torch.jit.save(torch.jit.trace(network, tuple(inputs.values()), check_trace=False), buffer)
    with zipfile.ZipFile(buffer) as archive, zipfile.ZipFile(public, "w") as copied:
        for item in archive.infolist():
            if not item.filename.endswith(".debug_pkl"):  # it holds paths of this machine
                copied.writestr(item, archive.read(item))
    return public.getvalue()


def _run_torchscript(content: bytes, inputs: Tensors) -> list[torch.Tensor]:
    return _as_list(torch.jit.load(io.BytesIO(content))(*inputs.values()))


def _write_onnx(network: nn.Module, inputs: Tensors, outputs: list[str]) -> bytes:
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
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def _run_onnx(content: bytes, inputs: Tensors) -> list[torch.Tensor]:
    session = _import("onnxruntime").InferenceSession(content, providers=["CPUExecutionProvider"])
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    return [torch.from_numpy(found) for found in session.run(None, arrays)]


def _as_list(found: Any) -> list[torch.Tensor]:
    return [found] if isinstance(found, torch.Tensor) else list(found)


def _import(library: str) -> Any:
    try:
        return import_module(library)
    except ImportError as error:
        raise MissingDependencyError(missing_extra(f"exporting to ONNX needs {library}", "export")) from error


class Format(NamedTuple):
    """A file format.

    Attributes:
        write: (network, example inputs by name, names of outputs) -> content of the file.
        run: (content of the file, inputs by name) -> outputs.
    """

    write: Callable[[nn.Module, Tensors, list[str]], bytes]
    run: Callable[[bytes, Tensors], list[torch.Tensor]]


FORMATS = {
    "onnx": Format(_write_onnx, _run_onnx),
    "torchscript": Format(_write_torchscript, _run_torchscript),
    "exported-program": Format(_write_exported_program, _run_exported_program),
}
