"""Figures: each panel shows what its caption promises, in the right order."""

import numpy as np
import pytest
import torch

from idgan.figures import (
    code_grid_sheet,
    edit_sheet,
    reconstruction_sheet,
    sample_sheet,
    traversal_frames,
    traversal_sheet,
    vae_sheet,
)
from idgan.images import contact_sheet, encoder_view, to_pil
from idgan.networks import VAE, ConvGeneratorConfig, ModelConfig, Posterior, VAEConfig
from idgan.sampler import Sampler

C_DIM = 3
ACTIVE = [2, 0]


@pytest.fixture
def twins():
    """A sampler whose generator is its decoder: both are the same layers, and (tanh(z / 2) + 1) / 2 is sigmoid(z)."""
    vae, generator = VAE(VAEConfig(C_DIM)), ConvGeneratorConfig(C_DIM).build()
    for parameter in vae.parameters():
        parameter.data *= 3  # so that the code shows
    weights = list(vae.decoder.state_dict().values())
    halved = [*weights[:-2], *(weight / 2 for weight in weights[-2:])]
    generator.layers.load_state_dict(dict(zip(generator.layers.state_dict(), halved)))
    mean, logvar = torch.zeros(32, C_DIM), torch.zeros(32, C_DIM)
    mean[:, 0], mean[:, 2] = torch.randn(32), 2 * torch.randn(32)
    logvar[:, ACTIVE] = -2.0
    return Sampler(ModelConfig(vae.config, generator.config), vae, generator, Posterior(mean, logvar))


def panels(sheet, count, height, width):
    """The `count` panels of equal size at the bottom of a sheet, as arrays (height, width)."""
    sheet = np.asarray(sheet.convert("L"))
    return [sheet[-8 - height : -8, left : left + width] for left in range(8, 8 + count * (width + 8), width + 8)]


def pixels(x, columns=None):
    """What a sheet of images (N, 1, 64, 64), enlarged twice, has as pixels."""
    return np.asarray(to_pil(contact_sheet(x, columns, scale=2))[0])


def close(a, b):
    return a.shape == b.shape and np.abs(a.astype(int) - b).max() <= 1


def test_samples_stand_beside_the_decoder_of_the_same_codes(twins):
    c, s = twins.codes(6, seed=0)
    expected = pixels(twins.sample(c, s), columns=3)
    assert expected.std() > 1
    left, right = panels(sample_sheet(twins, c, s, columns=3), 2, *expected.shape)
    assert close(left, expected)
    assert close(right, expected)


@pytest.mark.parametrize("dims", [None, [1, 0]])
def test_traversals_stand_beside_the_decoder_of_the_same_codes(twins, dims):
    shown = ACTIVE if dims is None else dims
    expected = pixels(twins.traverse(dims=shown, span=(-2, 2), steps=5, seed=3).flatten(0, 1), columns=5)
    left, right = panels(traversal_sheet(twins, dims=dims, span=(-2, 2), steps=5, seed=3), 2, *expected.shape)
    assert close(left, expected)
    assert close(right, expected)  # what was drawn for the generator was drawn for the decoder


def test_traversals_from_a_code(twins):
    c = torch.tensor([0.3, 0.0, -0.8])
    expected = pixels(twins.traverse(c, dims=[0, 2], steps=3, seed=1).flatten(0, 1), columns=3)
    left, right = panels(traversal_sheet(twins, c, dims=[0, 2], steps=3, seed=1), 2, *expected.shape)
    assert close(left, expected)
    assert close(right, expected)


@pytest.mark.parametrize(("steps", "count"), [(1, 1), (2, 2), (5, 8)])
def test_an_animation_goes_there_and_back(twins, steps, count):
    images = twins.traverse(steps=steps, seed=0)
    frames = traversal_frames(twins, steps=steps, seed=0)
    assert len(frames) == count
    for step in range(steps):
        assert torch.equal(frames[step], contact_sheet(images[:, step], scale=2))
    assert all(torch.equal(frames[step], frames[-step]) for step in range(1, count))


def test_edits_stand_beside_originals_and_reconstructions(twins):
    x = twins.sample(n=4, seed=0)
    expected = [pixels(panel) for panel in (x, twins.reconstruct(x, seed=2), twins.edit(x, {0: 1.5}, seed=2))]
    found = panels(edit_sheet(twins, x, {0: 1.5}, seed=2), 3, *expected[0].shape)
    assert all(close(*pair) for pair in zip(found, expected))
    assert not close(*expected[1:])
    _, reconstructed, untouched = panels(edit_sheet(twins, to_pil(x), {}), 3, *expected[0].shape)
    assert close(reconstructed, untouched)


def test_edits_start_from_the_codes_that_are_given(twins):
    x = torch.rand(2, 1, 64, 64)
    c, s = twins.codes(2, seed=4)
    expected = [pixels(panel) for panel in (x, twins.sample(c, s), twins.sample(twins.changed(c, {2: 1.0}), s))]
    assert all(
        close(*pair)
        for pair in zip(panels(edit_sheet(twins, x, {2: 1.0}, codes=(c, s)), 3, *expected[0].shape), expected)
    )


def test_reconstructions_stand_beside_originals_and_the_decoder(twins):
    x = twins.sample(n=4, seed=0)
    c, s = twins.codes(4, seed=4)
    expected = [
        pixels(panel)
        for panel in (x, twins.decode(twins.posterior(x).mean), twins.reconstruct(x, seed=2), twins.sample(c, s))
    ]
    for codes, count in ((None, 3), ((c, s), 4)):
        found = panels(reconstruction_sheet(twins, to_pil(x), seed=2, codes=codes), count, *expected[0].shape)
        assert all(close(*pair) for pair in zip(found, expected))


def test_a_grid_shares_codes_along_rows_and_all_else_along_columns(mixed):
    c, s = mixed.codes(3, seed=0)
    sheet = np.asarray(code_grid_sheet(mixed, c, s).convert("L"))
    height, decoded = pixels(mixed.decode(c), columns=1).shape
    assert close(sheet[-8 - height : -8, 8 : 8 + decoded], pixels(mixed.decode(c), columns=1))
    left = sheet.shape[1] - 8 - 3 * 130 - 2  # a tile is 128 px
    for row in range(3):
        for column in range(3):
            code = torch.where(mixed.active, c[row], c[column])
            image = np.asarray(to_pil(mixed.sample(code, s[column]).repeat_interleave(2, 2).repeat_interleave(2, 3))[0])
            top = sheet.shape[0] - 8 - height + 2 + row * 130
            assert close(sheet[top : top + 128, left + 2 + column * 130 : left + 130 + column * 130], image)


@pytest.fixture
def mixed():
    """A sampler with a nuisance and one inactive dimension, whose images show them all."""
    mean, logvar = torch.zeros(32, C_DIM), torch.zeros(32, C_DIM)
    mean[:, ACTIVE], logvar[:, ACTIVE] = torch.randn(32, 2), -3.0
    sampler = Sampler(ModelConfig(VAEConfig(C_DIM), ConvGeneratorConfig(C_DIM, 2)), bank=Posterior(mean, logvar))
    for parameter in sampler.parameters():
        parameter.mul_(3)
    return sampler


def test_a_vae_alone_shows_its_reconstructions_and_all_dimensions(twins):
    x = twins.sample(n=4, seed=0)
    height, width = pixels(x).shape
    sheet = np.asarray(vae_sheet(twins.vae, x, steps=3).convert("L"))
    top = sheet.shape[0] - 8 - max(height, pixels(x[:1].repeat(9, 1, 1, 1), columns=3).shape[0])
    assert close(sheet[top : top + height, 8 : 8 + width], pixels(x))
    decoded = pixels(twins.decode(twins.posterior(x).mean))
    assert close(sheet[top : top + height, 16 + width : 16 + 2 * width], decoded)
    order = twins.posterior(x).kl().mean(0).argsort(descending=True).tolist()
    mean = twins.posterior(x).mean[0]
    path = [torch.where(torch.arange(C_DIM) == dim, value, mean) for dim in order for value in (-3.0, 0.0, 3.0)]
    traversals = pixels(twins.decode(torch.stack(path)), columns=3)
    left = 24 + 2 * width
    assert close(sheet[top : top + traversals.shape[0], left : left + traversals.shape[1]], traversals)


@pytest.mark.parametrize("factor", [4, 8])
def test_large_images_are_reduced_to_a_tile(twins, factor):
    twins.generator = _Enlarged(twins.generator, factor)
    x = twins.traverse(dims=[0], steps=1)[0]
    assert x.shape[-1] == 64 * factor
    (frame,) = traversal_frames(twins, dims=[0], steps=1)
    assert frame.shape == (1, 256 + 4, 256 + 4)
    assert torch.allclose(frame[:, 2:-2, 2:-2], encoder_view(x, 256)[0], atol=1e-6)


class _Enlarged(torch.nn.Module):
    def __init__(self, generator, factor):
        super().__init__()
        self.generator, self.factor = generator, factor

    def forward(self, code):
        return self.generator(code).repeat_interleave(self.factor, 2).repeat_interleave(self.factor, 3)
