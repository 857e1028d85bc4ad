"""The registry of network configs."""

from typing import Any

from idgan.registry import Registry

__all__ = ["NETWORKS", "register_network"]

NETWORKS: Registry[Any] = Registry("network")
"""Name -> config class. A checkpoint file refers to its networks by these names."""

register_network = NETWORKS.register
