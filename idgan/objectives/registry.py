"""The registry of objective configs."""

from typing import Any

from idgan.registry import Registry

__all__ = ["OBJECTIVES", "register_objective"]

OBJECTIVES: Registry[Any] = Registry("objective")
"""Name -> config class."""

register_objective = OBJECTIVES.register
