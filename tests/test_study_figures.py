"""What the paper's figures show: which run each tile is of, its labels, and its place in the file."""

import pytest
import torch
from torchvision.transforms.functional import pil_to_tensor

from idgan.images import encoder_view, save_png, to_uint8
from idgan.study import FIGURES, Study
from idgan.study.figures import Panel, decoder_and_generator, draw, methods, nuisances, traversals

pytestmark = pytest.mark.filterwarnings("ignore:this device has no bf16")
LABELS = ["VAE", "beta-VAE", "FactorVAE", "GAN", "InfoGAN", "ID-GAN"]
BOTH = {"InfoGAN": "infogan", "ID-GAN": "id-gan"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of seconds on dSprites and on six pictures."""
    from idgan.data.prepare import prepare_images

    directory = tmp_path_factory.mktemp("figures")
    for i in range(6):
        save_png(torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(i)), directory / "raw" / f"{i}.png")
    prepare_images("folder", directory / "raw", directory / "prepared", 64)
    return Study("tiny", directory / "study", [0], {"celeba-64": directory / "prepared"})


def only(outputs):
    ((_, sheet),) = outputs
    return sheet


def gray(value, count=3, side=64):
    return torch.full((count, 1, side, side), value)


# ------------------------------------------------------------------ drawing


def test_rows_of_tiles_with_their_labels_at_the_left():
    rows = {"one": torch.stack([gray(0.2, 1)[0], gray(0.4, 1)[0]]), "another one": gray(0.6, 2)}
    picture = draw([Panel("caption", rows)])
    x = pil_to_tensor(picture)
    width, height = picture.size
    side = 256
    right, bottom = width - 8 - 2, height - 8 - 2  # a gap, and the padding of the sheet
    for column, row, value in (0, 0, 0.2), (1, 0, 0.4), (0, 1, 0.6), (1, 1, 0.6):
        left, top = right - (2 - column) * (side + 2) + 2, bottom - (2 - row) * side - (1 - row) * 2
        assert (x[:, top : top + side, left : left + side] == round(255 * value)).all()
    labels = x[:, 40:, : right - 2 * (side + 2)]
    assert (labels[:, : side // 2 + 40] < 100).any() and (labels[:, side + 10 :] < 100).any()


def test_a_shorter_row_ends_in_white():
    rows = {"long": gray(0.2, 3), "short": gray(0.4, 1)}
    x = pil_to_tensor(draw([Panel("", rows)]))
    below = x[:, -8 - 2 - 256 : -8 - 2, -8 - 2 - 3 * 258 + 2 : -8 - 2]
    assert (below[..., :256] == 102).all() and (below[..., 258:] == 255).all()


def test_a_panel_with_the_labels_of_its_neighbour_shows_none():
    rows = {"a long label": gray(0.5)}
    one, other = (draw([Panel("", rows), Panel("", {label: gray(0.5)})]) for label in ("a long label", "another label"))
    assert one.width < other.width - 50


@pytest.mark.parametrize(("columns", "side"), [(2, 256), (3, 256), (7, 128), (14, 64), (30, 64)])
def test_tiles_are_as_large_as_a_readme_allows(columns, side):
    for size in (64, 256):
        assert abs(draw([Panel("", {"": gray(0.5, columns, size)})]).width - columns * (side + 2)) < 40


# ------------------------------------------------------------------ which run each tile is of


def test_figure_4_shows_each_method_with_one_seed(study):
    (panel,) = only(methods(study, ["dsprites"], 0))
    assert panel.caption == "dsprites" and list(panel.rows) == LABELS
    for label, method in zip(LABELS, ("vae", "beta-vae", "factor-vae", "gan", "infogan", "id-gan")):
        sampler = study.sampler("dsprites", method, 0)
        c, s = sampler.codes(12, seed=0)
        torch.testing.assert_close(panel.rows[label], sampler.sample(c, s))
    assert torch.equal(
        *(study.sampler("dsprites", method, 0).codes(12, seed=0)[0] for method in ("beta-vae", "id-gan"))
    )


def test_figure_5_holds_c_and_changes_s(study):
    decoder, generator = only(nuisances(study, ["celeba-64"], 0))
    assert list(decoder.rows) == list(generator.rows)
    assert list(generator.rows)[:3] == ["c 1, without distillation", "c 1, cGAN", "c 1, ID-GAN"]
    for label, method in (("without distillation", "without-distillation"), ("cGAN", "cgan"), ("ID-GAN", "id-gan")):
        sampler = study.sampler("celeba-64", method, 0)
        c, s = sampler.codes(5, seed=0)
        torch.testing.assert_close(generator.rows[f"c 2, {label}"], sampler.sample(c[1:2].expand(5, -1), s))
        torch.testing.assert_close(decoder.rows[f"c 2, {label}"], sampler.decode(c[1:2]))
        assert torch.equal(decoder.rows[f"c 2, {label}"], decoder.rows["c 2, ID-GAN"])  # one encoder, one code


def test_figure_6_changes_one_dimension_in_a_row(study):
    sheet = only(traversals(study, ["celeba-64"], 0, systems=BOTH))
    assert [panel.caption for panel in sheet] == ["InfoGAN", "ID-GAN"]
    for panel, method in zip(sheet, BOTH.values()):
        sampler = study.sampler("celeba-64", method, 0)
        c, s = sampler.codes(1, seed=0)
        assert 1 <= len(panel.rows) <= 8
        for label, images in panel.rows.items():
            path = c.repeat(7, 1)
            path[:, int(label.removeprefix("c"))] = torch.linspace(-3, 3, 7)
            torch.testing.assert_close(images, sampler.sample(path, s.expand(7, -1)))
    assert draw(sheet).width <= 1030


def test_figure_7_has_the_decoder_above_the_generator(study):
    (panel,) = only(decoder_and_generator(study, ["celeba-64"], 0))
    sampler = study.sampler("celeba-64", "id-gan", 0)
    c, s = sampler.codes(7, seed=0)
    assert list(panel.rows) == ["decoder", "generator"]
    torch.testing.assert_close(panel.rows["decoder"], sampler.decode(c))
    torch.testing.assert_close(panel.rows["generator"], sampler.sample(c, s))


def test_figure_9_has_the_decoder_beside_the_generator_and_a8_another_code(study):
    systems = {"generator": "id-gan"}
    first, second = (
        only(traversals(study, ["celeba-64"], 0, systems=systems, decoder=True, code=code)) for code in (0, 1)
    )
    for sheet in first, second:
        assert [panel.caption for panel in sheet] == ["generator", "VAE decoder"]
        assert list(sheet[0].rows) == list(sheet[1].rows)
    row = next(iter(first[1].rows))
    assert not torch.equal(first[1].rows[row], second[1].rows[row])


def test_files_have_the_size_and_the_pixels_of_the_runs(study):
    ((file, picture),) = FIGURES["8"].make(study, ["celeba-64"])
    assert file == "figure-8-celeba-64-seed-0.png" and 800 < picture.width < 1000
    sampler = study.sampler("celeba-64", "id-gan", 0)
    c, s = sampler.codes(5, seed=0)
    last = sampler.sample(c[4:], s[4:])
    tile = to_uint8(last.repeat_interleave(2, -1).repeat_interleave(2, -2))[0]
    drawn = pil_to_tensor(
        picture.crop((picture.width - 138, picture.height - 138, picture.width - 10, picture.height - 10))
    )
    assert (drawn.movedim(0, -1).int() - torch.as_tensor(tile).int()).abs().max() <= 1


def test_images_that_are_larger_than_a_tile_are_averaged():
    x = torch.rand(7, 3, 256, 256)
    picture = draw([Panel("", {"": x})])
    tile = pil_to_tensor(
        picture.crop((picture.width - 138, picture.height - 138, picture.width - 10, picture.height - 10))
    )
    expected = torch.as_tensor(to_uint8(encoder_view(x[-1:], 128))[0]).movedim(-1, 0)
    assert (tile.int() - expected.int()).abs().max() <= 1


def test_every_figure_of_the_paper_has_a_number_and_known_sets():
    from idgan.recipes import RECIPES

    assert list(FIGURES) == [*map(str, range(3, 10)), *(f"A.{n}" for n in range(1, 11))]
    assert all(name in RECIPES for figure in FIGURES.values() for name in figure.names)


def test_a_missing_run_leaves_its_row_out(study):
    study.run("color-dsprites", "vae", 0)
    reader = Study("tiny", study.out.parent, [0], train=False)
    (panel,) = only(methods(reader, ["color-dsprites"], 0))
    assert list(panel.rows) == ["VAE"]
    assert "gan-seed-0" in {path.name for path in reader.absent}
