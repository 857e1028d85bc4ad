"""The model zoo: checkpoints by name, path or hub repository, verified and loaded."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idgan.zoo.manifest import info, list_models
    from idgan.zoo.models import TOLERANCES, ResolvedCheckpoint, load, resolve, verify

__all__ = ["TOLERANCES", "ResolvedCheckpoint", "info", "list_models", "load", "resolve", "verify"]


def __getattr__(name: str) -> Any:
    """Import on first use. A program that only reads the manifest does not import torch."""
    if name not in __all__:
        raise AttributeError(f"module 'idgan.zoo' has no attribute {name!r}")
    home = "manifest" if name in ("info", "list_models") else "models"
    return getattr(importlib.import_module(f"idgan.zoo.{home}"), name)
