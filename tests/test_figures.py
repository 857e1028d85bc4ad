"""Figures: each panel shows what its caption promises, in the right order."""

import numpy as np
import pytest
import torch

from idgan.errors import InvalidInputError
from idgan.figures import (
    code_grid_sheet,
    edit_sheet,
    enlarged,
    interpolation_frames,
    interpolation_sheet,
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


def places(sheet, picture):
    """Where the pixels of an array (height, width) are on a sheet: (left, top) of each place, from the left."""
    sheet = np.asarray(sheet.convert("L")).astype(int)
    height, width = picture.shape
    down, right = sheet.shape[0] - height + 1, sheet.shape[1] - width + 1
    found = np.ones((max(0, down), max(0, right)), bool)
    for row, column in np.random.default_rng(0).integers((height, width), size=(200, 2)):
        found &= abs(sheet[row : row + down, column : column + right] - picture[row, column]) <= 1
    corners = ((left, top) for top, left in np.argwhere(found))
    return sorted((left, top) for left, top in corners if close(sheet[top:][:height, left:][:, :width], picture))


def pixels(x, columns=None):
    """What a sheet of images (N, 1, 64, 64), enlarged twice, has as pixels."""
    return np.asarray(to_pil(contact_sheet(x, columns, scale=2))[0])


def close(a, b):
    return a.shape == b.shape and np.abs(a.astype(int) - b).max() <= 1


def test_samples_stand_beside_the_decoder_of_the_same_codes(twins):
    c, s = twins.codes(6, seed=0)
    expected = pixels(twins.sample(c, s), columns=3)
    assert expected.std() > 1
    (left, top), (right, same_top) = places(sample_sheet(twins, c, s, columns=3), expected)
    assert right >= left + expected.shape[1] and top == same_top


def test_samples_have_labels_below_them(twins):
    c, s = twins.codes(2, seed=0)
    labeled = sample_sheet(twins, c, s, labels=["seed 3", "seed 14"])
    plain = sample_sheet(twins, c, s)
    for image in twins.sample(c, s):
        tile = pixels(image[None])[2:-2, 2:-2]
        first, second = places(labeled, tile)
        assert [first[0], second[0]] == [left for left, _ in places(plain, tile)]
        assert inked(labeled, first[0], first[1] + 128, 128, 20)


def inked(sheet, left, top, width, height):
    """Whether there is a text, black on white, in a part of a sheet."""
    part = np.asarray(sheet.convert("L"))[top : top + height, left : left + width]
    return 0.003 < (part < 128).mean() < 0.5


@pytest.mark.parametrize("dims", [None, [1, 0]])
def test_traversals_stand_with_the_decoder_of_the_same_codes(twins, dims):
    shown = ACTIVE if dims is None else dims
    expected = pixels(twins.traverse(dims=shown, span=(-2, 2), steps=5, seed=3).flatten(0, 1), columns=5)
    # What was drawn for the generator was drawn for the decoder.
    assert len(places(traversal_sheet(twins, dims=dims, span=(-2, 2), steps=5, seed=3), expected)) == 2


def test_traversals_from_a_code(twins):
    c = torch.tensor([0.3, 0.0, -0.8])
    expected = pixels(twins.traverse(c, dims=[0, 2], steps=3, seed=1).flatten(0, 1), columns=3)
    assert len(places(traversal_sheet(twins, c, dims=[0, 2], steps=3, seed=1), expected)) == 2


def test_rows_and_columns_of_traversals_have_labels(twins):
    before, expected = traversal_sheet(twins, steps=5), pixels(twins.traverse(steps=5).flatten(0, 1), columns=5)
    (left, top), *_ = places(before, expected)
    assert all(inked(before, 0, top + row * 130, left, 130) for row in range(2))
    assert all(inked(before, left + column * 130, top - 24, 130, 24) for column in range(5))
    twins.dims = {"a_longer_name": 2}
    after = traversal_sheet(twins, steps=5)
    assert places(after, expected)[0][0] > left + 40


@pytest.mark.parametrize("count", [1, 8, 30])
def test_texts_can_be_read_when_a_page_shows_the_sheet_at_900_pixels(twins, count):
    sheet = sample_sheet(twins, *twins.codes(count * 2, seed=0), columns=count)
    rows = (np.asarray(sheet.convert("L")) < 128).any(1).tolist()
    first = rows.index(True)
    caption = rows.index(False, first) - first  # the height of its letters
    assert caption * min(1, 900 / sheet.width) > 9


@pytest.mark.parametrize(("steps", "count"), [(1, 1), (2, 2), (5, 8)])
def test_an_animation_goes_there_and_back(twins, steps, count):
    images = twins.traverse(steps=steps, seed=0)
    frames = traversal_frames(twins, steps=steps, seed=0)
    assert len(frames) == count
    for step in range(steps):
        (first,), (second,) = (places(frames[step], pixels(image[None])[2:-2, 2:-2]) for image in images[:, step])
        assert first[0] + 130 == second[0] and first[1] == second[1]
        assert all(inked(frames[step], left, top + 128, 128, 20) for left, top in (first, second))
    assert all(frames[step].tobytes() == frames[-step].tobytes() for step in range(1, count))


def test_an_interpolation_goes_from_one_pair_to_the_other(mixed):
    start, end = mixed.codes(1, seed=0), mixed.codes(1, seed=1)
    ends = [pixels(mixed.sample(*pair))[2:-2, 2:-2] for pair in (start, end)]
    middle = [(a + b) / 2 for a, b in zip(start, end)]
    sheet = interpolation_sheet(mixed, start, end, steps=3, names=("seed 0", "seed 1"))
    between = pixels(mixed.sample(*middle))[2:-2, 2:-2]
    corners = [places(sheet, tile)[0] for tile in (ends[0], between, ends[1])]
    assert [left - corners[0][0] for left, _ in corners] == [0, 130, 260]
    decoded = [places(sheet, pixels(mixed.decode(c))[2:-2, 2:-2])[0] for c in (start[0], middle[0], end[0])]
    assert [(left, top - 130) for left, top in decoded] == corners
    frames = interpolation_frames(mixed, start, end, steps=3)
    assert len(frames) == 4 and frames[1].tobytes() == frames[3].tobytes()
    for frame, pair in zip(frames, (start, middle, end)):
        tile = to_pil(mixed.sample(*pair).repeat_interleave(4, 2).repeat_interleave(4, 3))[0]
        assert places(frame, np.asarray(tile))


def test_an_interpolation_has_two_ends(mixed):
    with pytest.raises(InvalidInputError, match="steps must be an integer of 2 or more, got 1"):
        interpolation_sheet(mixed, mixed.codes(1), mixed.codes(1), steps=1)


def test_edits_stand_beside_originals_and_reconstructions(twins):
    x = twins.sample(n=4, seed=0)
    expected = [pixels(panel) for panel in (x, twins.reconstruct(x, seed=2), twins.edit(x, {0: 1.5}, seed=2))]
    assert in_order(edit_sheet(twins, x, {0: 1.5}, seed=2), expected)
    assert not close(*expected[1:])
    reconstructed = pixels(twins.reconstruct(to_pil(x)))
    assert len(places(edit_sheet(twins, to_pil(x), {}), reconstructed)) == 2


def in_order(sheet, pictures):
    """Whether the arrays are on the sheet from left to right."""
    lefts = [[left for left, _ in places(sheet, picture)] for picture in pictures]
    return all(lefts) and all(min(a) < max(b) for a, b in zip(lefts, lefts[1:]))


def test_edits_start_from_the_codes_that_are_given(twins):
    x = torch.rand(2, 1, 64, 64)
    c, s = twins.codes(2, seed=4)
    expected = [pixels(panel) for panel in (x, twins.sample(c, s), twins.sample(twins.changed(c, {2: 1.0}), s))]
    assert in_order(edit_sheet(twins, x, {2: 1.0}, codes=(c, s)), expected)


def test_an_edit_is_captioned_by_the_name_of_the_dimension(twins):
    x = twins.sample(n=1, seed=0)
    short = edit_sheet(twins, x, {0: 1.5})
    twins.dims = {"a_very_long_name_of_a_dimension": 0}
    named = edit_sheet(twins, x, {"a_very_long_name_of_a_dimension": 1.5})
    assert named.width > short.width + 50


def test_reconstructions_stand_beside_originals_and_the_decoder(twins):
    x = twins.sample(n=4, seed=0)
    c, s = twins.codes(4, seed=4)
    expected = [
        pixels(panel)
        for panel in (x, twins.decode(twins.posterior(x).mean), twins.reconstruct(x, seed=2), twins.sample(c, s))
    ]
    for codes, count in ((None, 3), ((c, s), 4)):
        assert in_order(reconstruction_sheet(twins, to_pil(x), seed=2, codes=codes), expected[:count])


@pytest.mark.parametrize("labels", [[], ["one", "two", "three"]])
def test_a_grid_shares_codes_along_rows_and_all_else_along_columns(mixed, labels):
    c, s = mixed.codes(3, seed=0)
    sheet = code_grid_sheet(mixed, c, s, labels)
    codes = torch.where(mixed.active, c[:, None], c[None]).flatten(0, 1)
    ((left, top),) = places(sheet, pixels(mixed.sample(codes, s.repeat(3, 1)), columns=3))
    ((decoded, same_top),) = places(sheet, pixels(mixed.decode(c), columns=1))
    assert decoded + 130 < left and top == same_top
    if labels:
        assert all(inked(sheet, decoded + 132, top + 130 * row, left - decoded - 132, 130) for row in range(3))
        assert all(inked(sheet, left + 130 * column, top - 24, 130, 24) for column in range(3))


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
    decoded = pixels(twins.decode(twins.posterior(x).mean))
    order = twins.posterior(x).kl().mean(0).argsort(descending=True).tolist()
    mean = twins.posterior(x).mean[0]
    path = [torch.where(torch.arange(C_DIM) == dim, value, mean) for dim in order for value in (-3.0, 0.0, 3.0)]
    traversals = pixels(twins.decode(torch.stack(path)), columns=3)
    assert in_order(vae_sheet(twins.vae, x, steps=3), [pixels(x), decoded, traversals])


@pytest.mark.parametrize("factor", [4, 8])
def test_large_images_are_reduced_to_a_tile(twins, factor):
    twins.generator = _Enlarged(twins.generator, factor)
    x = twins.traverse(dims=[0], steps=1)[0]
    assert x.shape[-1] == 64 * factor
    (frame,) = traversal_frames(twins, dims=[0], steps=1)
    assert len(places(frame, np.asarray(to_pil(encoder_view(x, 256))[0]))) == 1
    assert frame.width == 256 + 4


def test_gray_images_are_enlarged_with_hard_pixels_and_color_is_smoothed():
    gray, color = torch.rand(2, 1, 8, 8), torch.rand(2, 3, 8, 8)
    assert torch.equal(enlarged(gray, 35), gray.repeat_interleave(4, 2).repeat_interleave(4, 3))
    large = enlarged(color, 35)
    assert large.shape == (2, 3, 32, 32) and large.min() >= 0 and large.max() <= 1
    assert large[..., 0, :].unique().numel() > 3 * color[..., 0, :].numel()
    assert torch.equal(enlarged(color, 8), color)


class _Enlarged(torch.nn.Module):
    def __init__(self, generator, factor):
        super().__init__()
        self.generator, self.factor = generator, factor

    def forward(self, code):
        return self.generator(code).repeat_interleave(self.factor, 2).repeat_interleave(self.factor, 3)
