"""idgan: high-fidelity synthesis with disentangled codes (ID-GAN, Lee et al., ECCV 2020), as a model zoo.

import idgan
g = idgan.load("dsprites")
images = g.sample(n=16, seed=0)     # (16, 1, 64, 64) in [0, 1]
c = g.encode(images)                # (16, 10)
g.edit(images, {g.active_dims[0]: +1.5})
"""

import importlib

__version__ = "0.1.0"

# Resolved on first use: a command that only prints help need not import torch.
_HOMES = {
    "Sampler": "idgan.sampler",
    "errors": "idgan.errors",
    "evaluate": "idgan.zoo.evaluate",
    "info": "idgan.zoo",
    "list_models": "idgan.zoo",
    "load": "idgan.zoo",
    "train": "idgan.training",
}
__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'idgan' has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    return home if _HOMES[name] == f"idgan.{name}" else getattr(home, name)


def __dir__():
    return sorted([*globals(), *__all__])
