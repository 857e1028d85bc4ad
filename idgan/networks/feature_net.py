"""dsprites-convnet: the network that predicts the factors of dSprites and its variants. Its weights come with idgan."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from idgan.errors import CheckpointError
from idgan.networks.conv import conv_encoder

__all__ = ["DSPRITES_CONVNET", "load_feature_net"]

DSPRITES_CONVNET = Path(__file__).resolve().parents[1] / "weights" / "dsprites-convnet-v1.safetensors"


def load_feature_net(path: Path) -> tuple[nn.Sequential, dict[str, Any]]:
    """The network of examples/train_feature_net.py in the file at `path`, and what the file says about it.

    The network is the encoder's stack (Table A.2) on RGB images (N, 3, 64, 64) in [0, 1].

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            info = json.loads(file.metadata()["info"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is not a dict)
        network = conv_encoder(3, sum(info["outputs"].values()))
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} does not hold the dsprites-convnet features ({error}); install idgan again to restore it"
        ) from error
    return network, info
