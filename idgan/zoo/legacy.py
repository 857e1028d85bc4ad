"""The reference implementation's checkpoints: a VAE file and a GAN file become one `Sampler`.

Both files are pickles, the only ones that this package takes from others, and it reads them as data (`weights_only=True`). The reference's
layers are built beside ours from the same tensors, and both must compute the same.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import leaky_relu

from idgan.data import open_dataset
from idgan.errors import CheckpointError, InvalidInputError
from idgan.evaluation.grid_codes import posterior_bank
from idgan.files import sha256_of
from idgan.networks import VAE, ConvGeneratorConfig, ModelConfig, ResNetGeneratorConfig, VAEConfig
from idgan.networks.conv import conv_decoder, conv_encoder
from idgan.sampler import Sampler
from idgan.zoo.weights import check_tensors, part_of

__all__ = ["convert"]

VAE_KEYS = ("iter", "model_states", "optim_states")
VAE_STATE_KEYS = ("net", "c_dim", "nc")
GAN_KEYS = ("it", "generator", "discriminator", "generator_test", "g_optimizer", "d_optimizer")
WIDEST = 4096
"""The largest c_dim, s_dim and number of channels that a config of ours may have."""
TOLERANCE = 1e-9
"""How far apart the two layouts may be in float64, relative to the largest output: only the order of sums differs."""


def convert(vae, gan, *, data=None, data_path=None, name=None, bank_size=4096):
    """The `Sampler` made of the reference's VAE file `vae` and GAN file `gan` (its moving average, `generator_test`).

    Args:
        data: name of the data set that both were trained on: `bank_size` random images of it make the bank of posteriors. None: the bank
            is one standard normal, so that codes are drawn from the prior and every dimension counts as live (see `Sampler`).
        data_path: where its files are, if it has any.
        name: what to call it.

    Raises:
        CheckpointError: a file is no such checkpoint; the message names what is missing, not expected or of another shape.
        InvalidInputError: the data set is unknown, or its images have another number of channels.
        DataError: the data set's files are missing or not what they should be.
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
                f"the images of {data} have {dataset.image_channels} channels, the VAE's {autoencoder.config.image_channels}"
            )
        bank = posterior_bank(autoencoder, dataset, bank_size, torch.Generator().manual_seed(0))
    return Sampler(ModelConfig(vae_config, generator_config), autoencoder, generator, bank, info)


# ------------------------------------------------------------------ layouts


@dataclass(frozen=True)
class Stack:
    """A run of layers in two layouts: the `reference`'s, `ours`, and `translate`, which turns the state dict of one into that of the other.

    Both modules take a batch of inputs of shape `takes`; they come without memory (on the meta device).
    """

    reference: nn.Module
    ours: nn.Module
    translate: Callable
    takes: tuple


def _encoder(ours, config):
    """The encoder, whose first fully connected layer the reference writes as a convolution over the whole 4x4 input."""
    conv = conv_encoder(config.image_channels, 2 * config.c_dim)
    reference = nn.Sequential(*conv[:8], nn.Conv2d(64, 256, 4), nn.ReLU(), nn.Flatten(), conv[11])

    def translate(state):
        rest = {name: tensor for name, tensor in state.items() if not name.startswith("8.")}
        return rest | {"9.weight": state["8.weight"].flatten(1), "9.bias": state["8.bias"]}

    return Stack(reference, ours, translate, (config.image_channels, 64, 64))


def _decoder(ours, inputs, image_channels, *output):
    """The decoder, or the generator with its `output` layer: the second fully connected layer is a transposed convolution of one pixel."""
    up = conv_decoder(inputs, image_channels)
    reference = nn.Sequential(
        up[0], nn.Unflatten(1, (256, 1, 1)), nn.ReLU(), nn.ConvTranspose2d(256, 64, 4), nn.ReLU(), *up[5:], *output
    )

    def translate(state):
        rest = {name: tensor for name, tensor in state.items() if not name.startswith("3.")}
        return rest | {"2.weight": state["3.weight"].flatten(1).T, "2.bias": state["3.bias"].repeat_interleave(4 * 4)}

    return Stack(reference, ours, translate, (inputs,))


class ReferenceBlock(nn.Module):
    """A residual block by the reference's names."""

    def __init__(self, before, after):
        super().__init__()
        hidden = min(before, after)
        self.conv_0 = nn.Conv2d(before, hidden, 3, padding=1)
        self.conv_1 = nn.Conv2d(hidden, after, 3, padding=1)
        self.conv_s = nn.Identity() if before == after else nn.Conv2d(before, after, 1, bias=False)

    def forward(self, x):
        return self.conv_s(x) + 0.1 * self.conv_1(leaky_relu(self.conv_0(leaky_relu(x, 0.2)), 0.2))


class ReferenceResNet(nn.Module):
    """The generator of natural images by the reference's names; `widths` from 4x4 up."""

    def __init__(self, inputs, widths, image_channels):
        super().__init__()
        self.fc = nn.Linear(inputs, widths[0] * 4 * 4)
        blocks = [layer for pair in pairwise(widths) for layer in (ReferenceBlock(*pair), nn.Upsample(scale_factor=2))]
        self.resnet = nn.Sequential(*blocks, ReferenceBlock(widths[-1], widths[-1]))
        self.conv_img = nn.Conv2d(widths[-1], image_channels, 3, padding=1)

    def forward(self, code):
        return self.conv_img(leaky_relu(self.resnet(self.fc(code).unflatten(1, (-1, 4, 4))), 0.2)).tanh()


def _resnet(ours, config):
    """The generator of natural images: the same layers, by other names."""
    reference = ReferenceResNet(config.s_dim + config.c_dim, config.widths[::-1], config.image_channels)
    names = {"fc.": "0.", "conv_img.": f"{len(ours) - 2}."}
    for index in range(len(reference.resnet)):
        for old, new in (("conv_0.", "residual.1."), ("conv_1.", "residual.3."), ("conv_s.", "shortcut.")):
            names[f"resnet.{index}.{old}"] = f"{index + 2}.{new}"

    def translate(state):
        return {new + name: tensor for old, new in names.items() for name, tensor in part_of(state, old).items()}

    return Stack(reference, ours, translate, (config.s_dim + config.c_dim,))


def _conv_generator(path, state, vae):
    """Table A.3, the synthetic sets: -> (config, network, its stacks by prefix in the file)."""
    s_dim = _s_dim(path, state["layer.0.weight"], vae)
    config = ConvGeneratorConfig(vae.c_dim, s_dim, vae.image_channels)
    network = config.build()
    return config, network, {"layer.": _decoder(network.layers, s_dim + vae.c_dim, vae.image_channels, nn.Tanh())}


def _resnet_generator(path, state, vae):
    """Tables A.4 to A.7, natural images: as `_conv_generator`. The number of blocks tells the resolution."""
    blocks = {key.split(".")[1] for key in state if key.startswith("resnet.")}
    base, widest = (
        state["conv_img.weight"].shape[1:2].numel(),
        state["fc.bias"].numel() // 16 if "fc.bias" in state else 0,
    )
    if not (2 <= len(blocks) <= 12 and 1 <= base <= widest <= WIDEST):
        raise CheckpointError(
            f"{path}: its ResNet generator has {len(blocks)} blocks, {widest} to {base} channels wide; no such network"
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


def _s_dim(path, weight, vae):
    """How many inputs the first layer of a generator has beside the code."""
    inputs = weight.shape[-1]
    if not vae.c_dim <= inputs <= vae.c_dim + WIDEST:
        raise CheckpointError(
            f"{path}: a generator of {inputs} inputs does not go with the {vae.c_dim} code dimensions of the VAE file"
        )
    return inputs - vae.c_dim


GENERATORS = {"layer.0.weight": _conv_generator, "conv_img.weight": _resnet_generator}
"""A tensor that only this family of generators has -> the function that lays it out."""


# ------------------------------------------------------------------ files


def _read_vae(path):
    """-> (`VAEConfig`, `VAE`, how many steps it was trained)."""
    file = _only(path, "the VAE file", _unpickle(path), VAE_KEYS)
    states = _only(path, "model_states", file["model_states"], VAE_STATE_KEYS)
    c_dim, image_channels = (_integer(path, key, states[key], 1, WIDEST) for key in ("c_dim", "nc"))
    config = VAEConfig(c_dim, image_channels)
    with torch.device("meta"):
        vae = VAE(config)
        stacks = {
            "encoder.layer.": _encoder(vae.encoder, config),
            "decoder.layer.": _decoder(vae.decoder, c_dim, image_channels),
        }
    _fill(path, _tensors(path, "net", states["net"]), stacks)
    return config, vae, _integer(path, "iter", file["iter"])


def _read_generator(path, vae):
    """-> (config, generator, how many steps it was trained), for the `VAEConfig` it was distilled from."""
    file = _only(path, "the GAN file", _unpickle(path), GAN_KEYS)
    state = _tensors(path, "generator_test", file["generator_test"])
    family = next((family for key, family in GENERATORS.items() if key in state), None)
    if family is None:
        raise CheckpointError(
            f"{path}: generator_test has none of {', '.join(GENERATORS)}, by one of which generators are told apart"
        )
    with torch.device("meta"):
        config, network, stacks = family(path, state, vae)
    _fill(path, state, stacks)
    return config, network, _integer(path, "it", file["it"])


def _fill(path, state, stacks):
    """Give our layers the tensors of `state`, all of them and no others, and see that they compute what the reference's layers do."""
    expected = {
        prefix + name: tensor.shape
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
                f"{path}: {prefix}* computes something else after conversion (relative difference {difference:.1e})"
            )


@torch.no_grad()
def _difference(stack):
    """The largest difference between the two layouts' outputs for random inputs, in float64 and relative to the largest output."""
    inputs = torch.rand(2, *stack.takes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    reference, ours = (copy.deepcopy(module).double()(inputs) for module in (stack.reference, stack.ours))
    return ((reference - ours).abs().max() / reference.abs().max().clamp(min=1)).item()


def _unpickle(path):
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a malformed or hostile pickle may provoke any
        cause = error.__context__ or error  # around it, PyTorch puts the advice to try again without the guard
        reason = f"{type(cause).__name__}: {cause}"
        raise CheckpointError(
            f"{path} is not a PyTorch checkpoint of plain data, and nothing in it was run ({reason:.200})"
        ) from cause


def _only(path, what, values, keys):
    """`values`, which must be a dict with exactly these `keys`."""
    if not isinstance(values, dict) or set(values) != set(keys):
        found = [str(key) for key in values] if isinstance(values, dict) else []
        missing, surplus = [key for key in keys if key not in found], [key for key in found if key not in keys]
        said = f"missing: {missing or 'none'}; not expected: {surplus[:5] or 'none'}"
        raise CheckpointError(f"{path}: {what} must be a dict of {', '.join(keys)}; {said}")
    return values


def _integer(path, key, value, least=0, most=2**63):
    if type(value) is not int or not least <= value <= most:
        raise CheckpointError(f"{path}: {key} must be an integer from {least} to {most}, found {value!r:.100}")
    return value


def _tensors(path, what, state):
    """A state dict of plain tensors, without the `module.` that DataParallel puts before every key."""
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and _is_plain(tensor) for key, tensor in state.items()
    ):
        raise CheckpointError(f"{path}: {what} must be a state dict, names and plain tensors")
    wrapped = all(key.startswith("module.") for key in state)
    return {key.removeprefix("module.") if wrapped else key: tensor.detach() for key, tensor in state.items()}


def _is_plain(tensor):
    """Whether `tensor` is dense, has axes, and every value of it is in the file: a small file must not claim a large network."""
    if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided or tensor.is_nested or tensor.is_meta:
        return False
    return tensor.ndim > 0 and tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
