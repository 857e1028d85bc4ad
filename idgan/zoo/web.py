"""A static web page that runs a model in the browser: sliders, the generator and the decoder, without a server."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from idgan.demo import about, slider_ranges
from idgan.errors import InvalidInputError
from idgan.files import read_json, user_path, write_atomically
from idgan.sampler import Sampler
from idgan.zoo.export import export

__all__ = ["write_web_page"]

PACKAGE = "onnxruntime-web"
"""The npm package that runs ONNX files in a browser."""
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
"""What the page needs of its directory `dist`."""
SEEDS = 64
"""Number of drawn codes on the page."""
MARK = "<!-- idgan export --format web -->"
"""In the page of this module, so that no other page is overwritten."""


def write_web_page(
    sampler: Sampler, directory: str | Path, *, name: str, runtime: str | Path | None = None
) -> dict[str, Any]:
    """Write a page that runs `sampler` in a browser to `directory`. Any static web server can serve it.

    The networks are ONNX files, which are checked against the sampler. The page has the codes of the seeds below
    `SEEDS`, rounded to 6 decimal places, so it draws almost the images of `Sampler.sample(seed=...)`. The page itself
    is written last.

    Args:
        sampler: the model.
        directory: a missing or empty directory, or one of an earlier page, which is replaced.
        name: what the page calls the model.
        runtime: directory of the npm package onnxruntime-web. By default node_modules/onnxruntime-web.

    Returns:
        {"directory", "bytes", "runtime", "differences"}: the size of the files of the page, the version of
        onnxruntime-web, and the largest absolute differences from the sampler by part.

    Raises:
        InvalidInputError: the runtime is missing, or `directory` holds something else.
        MissingDependencyError: ONNX needs the extra `export`.
        IdganError: a network computes something else than the sampler.
    """
    place = user_path(directory)
    index = place / "index.html"
    if index.is_file() and MARK not in index.read_text(errors="replace"):
        raise InvalidInputError(f"{index} is another page; choose another directory")
    if place.exists() and not place.is_dir():
        raise InvalidInputError(f"{place} is not a directory")
    if not index.is_file() and place.exists() and any(place.iterdir()):
        raise InvalidInputError(f"{place} holds other files and no page of idgan; choose an empty or missing directory")
    source, version = _find_runtime(runtime)
    parts = ["generator"] + ["decoder"] * ("decoder" not in sampler.untrained)
    differences, size = {}, 0
    for part in parts:
        result = export(sampler, place / f"{part}.onnx", part=part, format="onnx")
        differences[part] = result["differences"]["images"]
        size += result["bytes"]
    contents = {f"runtime/{file}": (source / "dist" / file).read_bytes() for file in RUNTIME_FILES}
    contents["runtime/package.json"] = (source / "package.json").read_bytes()  # version, license
    contents["model.json"] = json.dumps(_facts(sampler, name, parts)).encode()
    contents["index.html"] = files("idgan.zoo").joinpath("web_page.html").read_bytes()
    for file, content in contents.items():
        write_atomically(place / file, content)
        size += len(content)
    return {"directory": str(place), "bytes": size, "runtime": f"{PACKAGE} {version}", "differences": differences}


def _facts(sampler: Sampler, name: str, parts: list[str]) -> dict[str, Any]:
    """What the page must know about the model, as JSON."""
    ranges = slider_ranges(sampler)
    c, s = (torch.cat(rows) for rows in zip(*(sampler.codes(1, seed) for seed in range(SEEDS))))
    return {
        "name": name,
        "about": about(sampler),
        "parts": parts,
        "channels": sampler.image_channels,
        "has_nuisance": sampler.s_dim > 0 or len(sampler.active_dims) < sampler.c_dim,
        "dims": [
            {"dim": dim, "label": sampler.dim_label(dim), "low": low, "high": high}
            for dim, (low, high) in ranges.items()
        ],
        "codes": [{"c": _rounded(row), "s": _rounded(rest)} for row, rest in zip(c.tolist(), s.tolist())],
    }


def _rounded(row: list[float]) -> list[float]:
    return [round(value, 6) for value in row]


def _find_runtime(runtime: str | Path | None) -> tuple[Path, str]:
    """Directory and version of the npm package onnxruntime-web."""
    source = user_path(runtime if runtime is not None else Path("node_modules") / PACKAGE)
    how = f"run `npm install --no-save {PACKAGE}`, then give node_modules/{PACKAGE} with --runtime"
    try:
        package = read_json(source / "package.json")
        found, version = package["name"], str(package["version"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InvalidInputError(f"{source} is not the npm package {PACKAGE}, which the page needs: {how}") from error
    missing = [file for file in RUNTIME_FILES if not (source / "dist" / file).is_file()]
    if found != PACKAGE or missing:
        what = f"has no dist/{missing[0]}" if found == PACKAGE else f"is the npm package {found}"
        raise InvalidInputError(f"{source} {what}, and the page needs {PACKAGE}: {how}")
    return source, version
