"""Import of the reference implementation's checkpoints: a VAE file and a GAN file become one `Sampler`.

Both files are pickles. They are the only pickles that this package reads from others, and it reads them as data
(`weights_only=True`). The reference's layers are built from the same tensors as ours, and both must compute the same.
"""

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.functional import leaky_relu

from idgan.data import open_dataset
from idgan.errors import CheckpointError, InvalidInputError
from idgan.evaluation.grid_codes import posterior_bank
from idgan.files import sha256_of
from idgan.networks import VAE, ConvGeneratorConfig, ModelConfig, ResNetGeneratorConfig, VAEConfig
from idgan.networks.conv import conv_decoder, conv_encoder
from idgan.rng import seeded_rng
from idgan.sampler import Sampler
from idgan.zoo.tensors import check_tensors, spec_of
from idgan.zoo.weights import part_of

__all__ = ["convert"]

VAE_KEYS = ("iter", "model_states", "optim_states")
VAE_STATE_KEYS = ("net", "c_dim", "nc")
GAN_KEYS = ("it", "generator", "discriminator", "generator_test", "g_optimizer", "d_optimizer")
MAX_WIDTH = 4096
"""The largest c_dim, s_dim and number of channels in a config of this package."""
TOLERANCE = 1e-9
"""Accepted difference of the two layouts in float64, relative to the largest output. Only the order of sums differs."""

Path = str | os.PathLike[str]
State = dict[str, torch.Tensor]


def convert(
    vae: Path,
    gan: Path,
    *,
    data: str | None = None,
    data_path: str | None = None,
    name: str | None = None,
    bank_size: int = 4096,
) -> Sampler:
    """The `Sampler` made of the reference's VAE file `vae` and GAN file `gan`.

    Of the latter, the moving average is used.

    Args:
        data: name of the training data set. The posteriors of `bank_size` of its images make the bank. Without it, the
            bank is one standard normal: codes are drawn from the prior, and every dimension counts as active.
        data_path: path of the data set's files, if it has any.
        name: name of the model.

    Raises:
        CheckpointError: a file is no such checkpoint. The message names what is missing, not expected or of another
            shape.
        InvalidInputError: the data set is unknown, or its images have another number of channels.
        DataError: the data set's files are missing or damaged.
        FileNotFoundError: there is no such file.
    """
    vae_config, autoencoder, vae_steps = _read_vae(vae)
    generator_config, generator, gan_steps = _read_generator(gan, vae_config)
    origin = {
        "vae": {"sha256": sha256_of(vae), "steps": vae_steps},
        "gan": {"sha256": sha256_of(gan), "steps": gan_steps},
    }
    info = {"data": data, "training": {"converted_from": origin}} | ({"name": name} if name else {})
    bank = None
    if data is not None:
        dataset = open_dataset(data, data_path)
        if dataset.image_channels != autoencoder.config.image_channels:
            raise InvalidInputError(
                f"the images of {data} have {dataset.image_channels} channels, those of the VAE have "
                f"{autoencoder.config.image_channels}"
            )
        bank = posterior_bank(autoencoder, dataset, bank_size, seeded_rng(0))
    return Sampler(ModelConfig(vae_config, generator_config), autoencoder, generator, bank, info)


# ------------------------------------------------------------------ layouts


@dataclass(frozen=True)
class Stack:
    """A run of layers in two layouts. Both modules are on the meta device, which stores shapes only.

    Attributes:
        reference: the layers of the reference.
        ours: the layers of this package.
        translate: turns the state dict of `reference` into that of `ours`.
        input_shape: shape of one input.
    """

    reference: nn.Module
    ours: nn.Module
    translate: Callable[[State], State]
    input_shape: tuple[int, ...]


def _encoder(ours: nn.Module, config: VAEConfig) -> Stack:
    """The encoder. The reference writes its first fully connected layer as a convolution over the whole 4x4 input."""
    conv = conv_encoder(config.image_channels, 2 * config.c_dim)
    reference = nn.Sequential(*conv[:8], nn.Conv2d(64, 256, 4), nn.ReLU(), nn.Flatten(), conv[11])

    def translate(state: State) -> State:
        rest = {name: tensor for name, tensor in state.items() if not name.startswith("8.")}
        return rest | {"9.weight": state["8.weight"].flatten(1), "9.bias": state["8.bias"]}

    return Stack(reference, ours, translate, (config.image_channels, 64, 64))


def _decoder(ours: nn.Module, inputs: int, image_channels: int, *output: nn.Module) -> Stack:
    """The decoder, or the generator with its `output` layer.

    Its second fully connected layer is a transposed convolution of one pixel.
    """
    up = conv_decoder(inputs, image_channels)
    reference = nn.Sequential(
        up[0], nn.Unflatten(1, (256, 1, 1)), nn.ReLU(), nn.ConvTranspose2d(256, 64, 4), nn.ReLU(), *up[5:], *output
    )

    def translate(state: State) -> State:
        rest = {name: tensor for name, tensor in state.items() if not name.startswith("3.")}
        return rest | {"2.weight": state["3.weight"].flatten(1).T, "2.bias": state["3.bias"].repeat_interleave(4 * 4)}

    return Stack(reference, ours, translate, (inputs,))


class ReferenceBlock(nn.Module):
    """A residual block with the reference's names. It takes `before` channels and returns `after`."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        hidden = min(before, after)
        self.conv_0 = nn.Conv2d(before, hidden, 3, padding=1)
        self.conv_1 = nn.Conv2d(hidden, after, 3, padding=1)
        self.conv_s: nn.Module = nn.Identity() if before == after else nn.Conv2d(before, after, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv_s(x) + 0.1 * self.conv_1(leaky_relu(self.conv_0(leaky_relu(x, 0.2)), 0.2))


class ReferenceResNet(nn.Module):
    """The generator of natural images with the reference's names. `widths` are the channels from 4x4 up."""

    def __init__(self, inputs: int, widths: Sequence[int], image_channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(inputs, widths[0] * 4 * 4)
        blocks: list[nn.Module] = [
            layer for pair in pairwise(widths) for layer in (ReferenceBlock(*pair), nn.Upsample(scale_factor=2))
        ]
        self.resnet = nn.Sequential(*blocks, ReferenceBlock(widths[-1], widths[-1]))
        self.conv_img = nn.Conv2d(widths[-1], image_channels, 3, padding=1)

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        return self.conv_img(leaky_relu(self.resnet(self.fc(code).unflatten(1, (-1, 4, 4))), 0.2)).tanh()


def _resnet(ours: nn.Sequential, config: ResNetGeneratorConfig) -> Stack:
    """The generator of natural images: the same layers with other names."""
    reference = ReferenceResNet(config.s_dim + config.c_dim, config.widths[::-1], config.image_channels)
    names = {"fc.": "0.", "conv_img.": f"{len(ours) - 2}."}
    for index in range(len(reference.resnet)):
        for old, new in (("conv_0.", "residual.1."), ("conv_1.", "residual.3."), ("conv_s.", "shortcut.")):
            names[f"resnet.{index}.{old}"] = f"{index + 2}.{new}"

    def translate(state: State) -> State:
        return {new + name: tensor for old, new in names.items() for name, tensor in part_of(state, old).items()}

    return Stack(reference, ours, translate, (config.s_dim + config.c_dim,))


Layout = tuple[Any, nn.Module, dict[str, Stack]]
"""Config and network of a generator, and its stacks by their prefix in the file."""


def _conv_generator(path: Path, state: State, vae: VAEConfig) -> Layout:
    """The generator of the synthetic data sets (Table A.3)."""
    s_dim = _s_dim(path, state["layer.0.weight"], vae)
    config = ConvGeneratorConfig(vae.c_dim, s_dim, vae.image_channels)
    network = config.build()
    return config, network, {"layer.": _decoder(network.layers, s_dim + vae.c_dim, vae.image_channels, nn.Tanh())}


def _resnet_generator(path: Path, state: State, vae: VAEConfig) -> Layout:
    """The generator of natural images (Tables A.4 to A.7). The number of blocks determines the resolution."""
    blocks = {key.split(".")[1] for key in state if key.startswith("resnet.")}
    base, widest = (
        state["conv_img.weight"].shape[1:2].numel(),
        state["fc.bias"].numel() // 16 if "fc.bias" in state else 0,
    )
    if not (2 <= len(blocks) <= 12 and 1 <= base <= widest <= MAX_WIDTH):
        raise CheckpointError(
            f"{path}: a ResNet generator with {len(blocks)} blocks and {base} to {widest} channels is not supported"
        )
    config = ResNetGeneratorConfig(
        resolution=4 << len(blocks) - 1,
        base_width=base,
        max_width=widest,
        image_channels=vae.image_channels,
        c_dim=vae.c_dim,
        s_dim=_s_dim(path, state.get("fc.weight", torch.empty(0)), vae),
    )
    network = config.build()
    return config, network, {"": _resnet(network.layers, config)}


def _s_dim(path: Path, weight: torch.Tensor, vae: VAEConfig) -> int:
    """Number of nuisance inputs of a generator whose first layer has this `weight`. Its other inputs are the code."""
    inputs = weight.shape[-1]
    if not vae.c_dim <= inputs <= vae.c_dim + MAX_WIDTH:
        raise CheckpointError(
            f"{path}: a generator with {inputs} inputs does not fit the {vae.c_dim} code dimensions of the VAE file"
        )
    return inputs - vae.c_dim


GENERATORS = {"layer.0.weight": _conv_generator, "conv_img.weight": _resnet_generator}
"""A tensor that only this family of generators has -> function that makes its layout."""


# ------------------------------------------------------------------ files


def _read_vae(path: Path) -> tuple[VAEConfig, VAE, int]:
    """Config, network and number of training steps in the VAE file at `path`."""
    file = _check_keys(path, "the VAE file", _unpickle(path), VAE_KEYS)
    states = _check_keys(path, "model_states", file["model_states"], VAE_STATE_KEYS)
    c_dim, image_channels = (_integer(path, key, states[key], 1, MAX_WIDTH) for key in ("c_dim", "nc"))
    config = VAEConfig(c_dim, image_channels)
    with torch.device("meta"):
        vae = VAE(config)
        stacks = {
            "encoder.layer.": _encoder(vae.encoder, config),
            "decoder.layer.": _decoder(vae.decoder, c_dim, image_channels),
        }
    _fill(path, _tensors(path, "net", states["net"]), stacks)
    return config, vae, _integer(path, "iter", file["iter"])


def _read_generator(path: Path, vae: VAEConfig) -> tuple[Any, nn.Module, int]:
    """Config, network and number of training steps in the GAN file at `path`, for a generator distilled from `vae`."""
    file = _check_keys(path, "the GAN file", _unpickle(path), GAN_KEYS)
    state = _tensors(path, "generator_test", file["generator_test"])
    family = next((family for key, family in GENERATORS.items() if key in state), None)
    if family is None:
        raise CheckpointError(
            f"{path}: generator_test must have one of {', '.join(GENERATORS)}, which tell the kinds of generators apart"
        )
    with torch.device("meta"):
        config, network, stacks = family(path, state, vae)
    _fill(path, state, stacks)
    return config, network, _integer(path, "it", file["it"])


def _fill(path: Path, state: State, stacks: Mapping[str, Stack]) -> None:
    """Give our layers the tensors in `state`, and check that they compute the same as the reference's layers."""
    expected = {
        prefix + name: spec_of(tensor)
        for prefix, stack in stacks.items()
        for name, tensor in stack.reference.state_dict().items()
    }
    check_tensors(path, state, expected)
    for prefix, stack in stacks.items():
        part = part_of(state, prefix)
        stack.reference.load_state_dict(part, assign=True)
        translated = {name: tensor.contiguous().clone() for name, tensor in stack.translate(part).items()}
        stack.ours.load_state_dict(translated, assign=True)
        difference = _difference(stack)
        if not difference <= TOLERANCE:
            raise CheckpointError(
                f"{path}: after conversion, {prefix}* computes something else (relative difference {difference:.1e})"
            )


@torch.no_grad()
def _difference(stack: Stack) -> float:
    """Largest difference of the layouts' outputs for random inputs in float64, relative to the largest output."""
    inputs = torch.rand(2, *stack.input_shape, generator=seeded_rng(0), dtype=torch.float64)
    reference, ours = (copy.deepcopy(module).double()(inputs) for module in (stack.reference, stack.ours))
    return ((reference - ours).abs().max() / reference.abs().max().clamp(min=1)).item()


def _unpickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a malformed or hostile pickle may raise anything
        cause = error.__context__ or error  # PyTorch's own message advises to try again without the guard
        reason = f"{type(cause).__name__}: {cause}"
        raise CheckpointError(
            f"{path} is not a PyTorch checkpoint of plain data, and nothing in it was run ({reason:.200})"
        ) from cause


def _check_keys(path: Path, what: str, values: Any, keys: Sequence[str]) -> dict[str, Any]:
    """`values`, checked to be a dict with exactly these `keys`."""
    if not isinstance(values, dict) or set(values) != set(keys):
        found = [str(key) for key in values] if isinstance(values, dict) else []
        missing, surplus = [key for key in keys if key not in found], [key for key in found if key not in keys]
        found_keys = f"missing: {missing or 'none'}; not expected: {surplus[:5] or 'none'}"
        raise CheckpointError(f"{path}: {what} must be a dict of {', '.join(keys)}; {found_keys}")
    return values


def _integer(path: Path, key: str, value: Any, minimum: int = 0, maximum: int = 2**63) -> int:
    if type(value) is not int or not minimum <= value <= maximum:
        raise CheckpointError(f"{path}: {key} must be an integer from {minimum} to {maximum}, found {value!r:.100}")
    return value


def _tensors(path: Path, what: str, state: Any) -> State:
    """`state`, checked to be a state dict of plain tensors, without the prefix `module.` of DataParallel."""
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and _is_plain(tensor) for key, tensor in state.items()
    ):
        raise CheckpointError(f"{path}: {what} must be a state dict of plain tensors by name")
    wrapped = all(key.startswith("module.") for key in state)
    return {key.removeprefix("module.") if wrapped else key: tensor.detach() for key, tensor in state.items()}


def _is_plain(tensor: Any) -> bool:
    """Whether `tensor` is dense, has axes, and has all its values in the file.

    A small file must not claim a large network.
    """
    if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided or tensor.is_nested or tensor.is_meta:
        return False
    return tensor.ndim > 0 and tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
