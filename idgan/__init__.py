"""ID-GAN (Lee et al., ECCV 2020) as a model zoo: image generation with disentangled codes.

import idgan
g = idgan.load("dsprites")
images = g.sample(n=16, seed=0)     # (16, 1, 64, 64) in [0, 1]
c = g.encode(images)                # (16, 10)
g.edit(images, {g.active_dims[0]: +1.5})
"""

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from idgan import errors
    from idgan.sampler import Sampler
    from idgan.training.entry import train
    from idgan.zoo import info, list_models, load
    from idgan.zoo.evaluate import evaluate

# Idle threads of OpenMP spin on cores that other programs use, until libgomp finds this variable. On a busy machine two
# threads were 15 times slower than one (benchmarks/inversion.py --compare-threads). Loading torch reads it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

__all__ = ["Sampler", "errors", "evaluate", "info", "list_models", "load", "train"]

_HOMES = {
    "Sampler": "idgan.sampler",
    "errors": "idgan.errors",
    "evaluate": "idgan.zoo.evaluate",
    "info": "idgan.zoo",
    "list_models": "idgan.zoo",
    "load": "idgan.zoo",
    "train": "idgan.training",
}
"""Public name -> the module that defines it, imported on first use. So `import idgan` does not load torch."""

if not TYPE_CHECKING:

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module 'idgan' has no attribute {name!r}")
        home = importlib.import_module(_HOMES[name])
        return home if _HOMES[name] == f"idgan.{name}" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
