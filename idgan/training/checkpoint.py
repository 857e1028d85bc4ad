"""The training state of a run: one safetensors file, replaced atomically, without pickle.

A state is a nest of dicts and lists. Its leaves are tensors or plain JSON values, like those of `state_dict()` of
modules and optimizers. Tensors are stored under their path. Everything else is JSON in the metadata of the file.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from idgan.errors import RunError
from idgan.files import read_json, write_atomically
from idgan.record import current_setting

__all__ = ["SETTINGS_FILE", "STATE_FILE", "differences", "load_state", "read_settings", "save_state", "step_of"]

SETTINGS_FILE = "recipe.json"
STATE_FILE = "state.safetensors"

FAULTS = (
    *(SafetensorError, OSError, LookupError, ArithmeticError),
    *(ValueError, TypeError, AttributeError, RecursionError),
)
"""What reading a damaged state may raise."""
MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors format."""
TENSOR = "\0tensor"
"""Placeholder of a tensor in the JSON part of a state."""


def differences(stored: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """The keys whose values differ, as text with both values. Empty if all are equal."""
    changed = [key for key in sorted({*stored, *current}) if stored.get(key) != current.get(key)]
    return "; ".join(f"{key}: {stored.get(key)!r} stored, {current.get(key)!r} now" for key in changed)


def read_settings(run: Path) -> dict[str, Any]:
    """The settings of the run in the directory `run`: dotted path -> plain value.

    Current names replace old names of settings.

    Raises:
        RunError: the file is missing or damaged.
    """
    path = run / SETTINGS_FILE
    try:
        settings = read_json(path)
        return {current_setting(name): value for name, value in settings.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise RunError(f"{path} holds no settings of a run ({error}); choose another directory") from error


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the nested `state` to `path` atomically: after a crash, the file is the old one or the new one."""
    tensors = {}

    def lift(value: Any, name: str) -> Any:
        if isinstance(value, torch.Tensor):
            # a copy, because safetensors refuses tensors that share memory
            tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
            return TENSOR
        if isinstance(value, dict):
            # pairs, because JSON would turn the integer keys of an optimizer into text
            return {"dict": [[key, lift(item, f"{name}/{key}")] for key, item in value.items()]}
        if isinstance(value, (list, tuple)):
            return [lift(item, f"{name}/{i}") for i, item in enumerate(value)]
        return value

    skeleton = lift(dict(state), "")
    write_atomically(path, safetensors.torch.save(tensors, {"state": json.dumps(skeleton)}))


def load_state(path: Path) -> dict[str, Any]:
    """The nested state that `save_state` wrote, with tensors on the CPU.

    Raises:
        RunError: the file is damaged or is no training state.
    """

    def lower(value: Any, name: str) -> Any:
        if value == TENSOR:
            return tensors[name]
        if isinstance(value, dict):
            return {key: lower(item, f"{name}/{key}") for key, item in value["dict"]}
        if isinstance(value, list):
            return [lower(item, f"{name}/{i}") for i, item in enumerate(value)]
        return value

    with _opened(path) as file:
        skeleton = json.loads((file.metadata() or {})["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is not a dict)
        state: dict[str, Any] = dict(lower(skeleton, ""))
        return state


def step_of(path: Path) -> int:
    """The step of the state at `path`, without reading its tensors. 0 if there is no such file.

    Raises:
        RunError: the file is damaged or is no training state.
    """
    if not path.exists():
        return 0
    with _faults_of(path), open(path, "rb") as file:  # opened once, because a running training may replace the file
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"its header claims {length:,} bytes")
        header = json.loads(file.read(length))
        metadata = header.pop("__metadata__")
        end = max((item["data_offsets"][1] for item in header.values()), default=0)
        if 8 + length + end != os.fstat(file.fileno()).st_size:
            raise ValueError("it is cut or has trailing bytes")
        return int(dict(json.loads(metadata["state"])["dict"])["step"])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """`safe_open` of a state. Every fault of the file becomes a `RunError`."""
    with _faults_of(path), safe_open(path, framework="pt") as file:
        yield file


@contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    """Turn every fault of the state at `path` into a `RunError`."""
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait without end
            raise ValueError("it is not a regular file")
        yield
    except FAULTS as error:
        raise RunError(f"{path} is not a training state ({error}); delete it to start this stage again") from error
