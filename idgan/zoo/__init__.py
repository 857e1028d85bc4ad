"""The zoo: checkpoints by name, path or hub repository, verified and built."""

import importlib

__all__ = ["TOLERANCES", "ResolvedCheckpoint", "info", "list_models", "load", "resolve", "verify"]


def __getattr__(name):  # on first use: who only reads the manifest need not import torch
    if name not in __all__:
        raise AttributeError(f"module 'idgan.zoo' has no attribute {name!r}")
    return getattr(importlib.import_module("idgan.zoo.models"), name)
