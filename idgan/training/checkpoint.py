"""The training state of a run: one safetensors file, replaced atomically, with no pickle in it.

A state is a nest of dicts and lists whose leaves are tensors or plain JSON values (what `state_dict()` of modules and optimizers gives).
Tensors are stored under their path; everything else as JSON in the file's metadata.
"""

import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from idgan.errors import RunError
from idgan.files import write_atomically
from idgan.record import current_setting

__all__ = ["SETTINGS_FILE", "differences", "load_state", "read_settings", "save_state", "step_of"]

SETTINGS_FILE = "recipe.json"

TENSOR = "\0tensor"


def differences(there, here):
    """Where the flat dict of a stored run and that of this one differ, as text with both values; empty where they agree."""
    changed = [key for key in sorted({*there, *here}) if there.get(key) != here.get(key)]
    return "; ".join(f"{key}: {there.get(key)!r} there, {here.get(key)!r} now" for key in changed)


def read_settings(run: Path) -> dict[str, Any]:
    """The settings of the run in the directory `run`, dotted path -> plain value. Old names of settings are replaced by current ones.

    Raises:
        RunError: the file is missing or damaged.
    """
    path = run / SETTINGS_FILE
    try:
        settings = json.loads(path.read_text())
        return {current_setting(name): value for name, value in settings.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise RunError(f"{path} holds no settings of a run ({error}); choose another directory") from error


def save_state(path, state):
    """Write the nested `state` to `path`; a crash at any moment leaves the old file or the new one."""
    tensors = {}

    def lift(value, name):
        if isinstance(value, torch.Tensor):
            tensors[name] = (
                value.detach().cpu().clone(memory_format=torch.contiguous_format)
            )  # the format knows no shared memory
            return TENSOR
        if isinstance(value, dict):
            # JSON keys are text; an optimizer's are ints. Pairs keep them what they are.
            return {"dict": [[key, lift(item, f"{name}/{key}")] for key, item in value.items()]}
        if isinstance(value, (list, tuple)):
            return [lift(item, f"{name}/{i}") for i, item in enumerate(value)]
        return value

    skeleton = lift(state, "")
    write_atomically(path, safetensors.torch.save(tensors, {"state": json.dumps(skeleton)}))


def load_state(path):
    """The nested state that `save_state` wrote, tensors on the CPU.

    Raises:
        RunError: the file is not a training state.
    """
    with _opened(path) as file:
        skeleton = json.loads((file.metadata() or {})["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is not a dict)

    def lower(value, name):
        if value == TENSOR:
            return tensors[name]
        if isinstance(value, dict):
            return {key: lower(item, f"{name}/{key}") for key, item in value["dict"]}
        if isinstance(value, list):
            return [lower(item, f"{name}/{i}") for i, item in enumerate(value)]
        return value

    return lower(skeleton, "")


def step_of(path):
    """The "step" of the state at `path`, without reading its tensors; 0 if there is no such file. Errors as in `load_state`."""
    if not path.exists():
        return 0
    with _opened(path) as file:
        return dict(json.loads((file.metadata() or {})["state"])["dict"])["step"]


@contextmanager
def _opened(path):
    """`safe_open` of a state; whatever is wrong with the file is a `RunError`."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, KeyError, ValueError) as error:
        raise RunError(f"{path} is not a training state ({error}); delete it to start this stage again") from error
