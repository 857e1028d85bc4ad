"""Data sets by name and as objects; what each of them declares."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from idgan.cli import main
from idgan.data import (
    DATASETS,
    IMAGE_SETS,
    CenterSquare,
    ColorDSprites,
    Dataset,
    DSprites,
    ImageFolder,
    ImageSet,
    NoisyDSprites,
    PreparedImages,
    ScreamDSprites,
    check_dataset,
    content_key,
    open_dataset,
    prepare_images,
    register_dataset,
    register_image_set,
)
from idgan.errors import InvalidInputError


class Flat(Dataset):
    """Three gray images of one level."""

    resolution, image_channels = 8, 1

    def __init__(self, path=None):
        self.path = path

    def __len__(self):
        return 3

    def images(self, indices, rng=None):
        return torch.full((len(indices), 1, 8, 8), 0.5)


@pytest.fixture
def registries(monkeypatch):
    """Registrations of the test are forgotten after it."""
    for registry in DATASETS, IMAGE_SETS:
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


def test_the_data_sets_of_the_package_have_names():
    assert set(DATASETS) == {
        *("dsprites", "color-dsprites", "noisy-dsprites", "scream-dsprites"),
        *(
            "celeba-64",
            "celeba-128",
            "celeba-256",
            "celebahq-256",
            "celebahq-512",
            "celebahq-1024",
            "chairs-64",
            "cars-64",
        ),
    }
    assert {DATASETS.package_of(name) for name in DATASETS} == {"idgan"}


def test_every_data_set_declares_what_the_protocol_names(tmp_path):
    painting = tmp_path / "painting.png"
    Image.new("RGB", (512, 652)).save(painting)
    for i in range(3):
        Image.new("RGB", (40, 40), (i, i, i)).save(tmp_path / f"{i}.png")
    prepared = prepare_images("folder", tmp_path, tmp_path.with_name("prepared"), 32).path
    grid = DSprites.factors
    for dataset, expected in (
        (DSprites(), (grid, False, False)),
        (ColorDSprites(), (grid, True, False)),
        (NoisyDSprites(), (grid, True, False)),
        (ScreamDSprites(painting), (grid, True, False)),
        (ImageFolder(tmp_path, 32), (None, False, True)),
        (PreparedImages(prepared), (None, False, False)),
    ):
        assert check_dataset(dataset) is dataset
        assert (dataset.factors, dataset.stochastic, dataset.streams) == expected, type(dataset)


def test_an_object_is_a_data_set_if_it_has_all_of_them():
    flat = Flat()
    assert open_dataset(flat) is flat
    with pytest.raises(InvalidInputError, match="takes no path"):
        open_dataset(flat, "somewhere")
    for wrong in (3, [], torch.zeros(3), None):
        with pytest.raises(InvalidInputError, match="is not a data set: it has no resolution"):
            open_dataset(wrong)


def test_a_class_and_functions_are_registered_by_a_decorator(registries):
    register_dataset("flat")(Flat)

    @register_dataset("fixed")
    def fixed():
        return Flat("fixed")

    @register_dataset("needy")
    def needy(path):
        return Flat(path)

    assert open_dataset("flat", "here").path == "here"
    assert open_dataset("flat").path is None
    assert open_dataset("needy").path is None
    assert open_dataset("fixed").path == "fixed"
    with pytest.raises(InvalidInputError, match=r"'fixed' takes no path, got 'x'"):
        open_dataset("fixed", "x")
    with pytest.raises(InvalidInputError, match="registered already"):
        register_dataset("dsprites")(Flat)

    @register_dataset("broken")
    def broken(path=None):
        return 5

    with pytest.raises(InvalidInputError, match="int is not a data set"):
        open_dataset("broken")


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InvalidInputError, match=r"did you mean 'dsprites'\?.*celeba-64.*, folder, hf:org/name"):
        open_dataset("dsprite")


def test_one_call_registers_an_image_set_with_its_data_sets_and_its_preparation(registries, tmp_path, monkeypatch):
    register_image_set(
        ImageSet("cats", CenterSquare(), resolutions=(16, 32), title="Cats: their middle.", count=3, origin="ask")
    )
    for i in range(2):
        Image.fromarray(np.full((40, 40, 3), 100 * i, np.uint8)).save(tmp_path / f"{i}.png")
    monkeypatch.setenv("IDGAN_DATA", str(tmp_path.with_name("data")))
    assert "Cats." in CliRunner().invoke(main, ["prepare", "--help"]).stdout
    assert "Cats: their middle." in CliRunner().invoke(main, ["prepare", "cats", "--help"]).stdout
    result = CliRunner().invoke(main, ["prepare", "cats", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "cats-16: 2 images of 16x16" in result.stdout
    assert "1 of the 3 published images are missing. ask" in result.stderr
    assert open_dataset("cats-16").images(torch.arange(2))[:, 0, 0, 0].tolist() == pytest.approx([0, 100 / 255])
    assert DATASETS.package_of("cats-32") == __name__.partition(".")[0]
    assert len(open_dataset("cats-32", tmp_path)) == 2


def test_the_key_of_a_data_set_depends_on_its_pixels():
    assert content_key(DSprites()) == content_key(DSprites())
    assert len({content_key(dataset) for dataset in (DSprites(), Flat(), ColorDSprites(), NoisyDSprites())}) == 4
