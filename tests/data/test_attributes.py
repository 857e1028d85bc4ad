"""Attributes of faces, and preparation of real files in their published layout."""

import io
import json
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from torchvision.transforms import functional as tvf

from idgan.cli import main
from idgan.data import PreparedImages, open_dataset, prepare_images
from idgan.data.attributes import parse_attributes
from idgan.errors import DataError, InvalidInputError

PUBLISHED = "3\nBald Smiling\n000001.jpg -1  1\n000002.jpg  1 -1\n000003.jpg -1 -1\n"
BY_COMMAS = "image_id,Bald,Smiling\n000001.jpg,-1,1\n000002.jpg,1,-1\n000003.jpg,-1,-1\n"
VALUES = [[False, True], [True, False], [False, False]]


def face(i, width=89, height=109):
    file = io.BytesIO()
    pixels = np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def faces(tmp_path):
    """`faces(files)`: an archive of three small CelebA images and of other files."""

    def make(files=(), count=3):
        with zipfile.ZipFile(tmp_path / "celeba.zip", "w") as archive:
            for i in range(1, count + 1):
                archive.writestr(f"img_align_celeba/{i:06d}.jpg", face(i))
            for name, content in dict(files).items():
                archive.writestr(name, content)
        return tmp_path / "celeba.zip"

    return make


@pytest.mark.parametrize(
    ("name", "content"), [("list_attr_celeba.txt", PUBLISHED), ("Anno/list_attr_celeba.csv", BY_COMMAS)]
)
def test_attributes_come_with_the_images(faces, tmp_path, name, content):
    made = prepare_images("celeba", faces({name: content}), tmp_path / "out", 64)
    names, values = open_dataset("celeba-64", made.path).attributes
    assert names == ("Bald", "Smiling") and values.dtype == bool and values.tolist() == VALUES


def test_a_file_beside_the_archive_is_found(faces, tmp_path):
    source = faces()
    (tmp_path / "list_attr_celeba.txt").write_text(PUBLISHED)
    assert (
        PreparedImages(prepare_images("celeba", source, tmp_path / "out", 64).path).attributes.values.tolist() == VALUES
    )


def test_rows_are_those_of_the_images_that_were_kept(faces, tmp_path):
    files = {"list_attr_celeba.txt": PUBLISHED.replace("000001.jpg -1  1\n", "") + "000001.jpg -1 1\n"}
    made = prepare_images("celeba", faces(files), tmp_path / "out", 64, limit=2)
    assert PreparedImages(made.path).attributes.values.tolist() == VALUES[:2]


def test_without_a_row_for_each_image_there_are_none(faces, tmp_path):
    made = prepare_images("celeba", faces({"list_attr_celeba.txt": PUBLISHED}, count=4), tmp_path / "out", 64)
    assert PreparedImages(made.path).attributes is None
    assert PreparedImages(prepare_images("celeba", faces(), tmp_path / "none", 64).path).attributes is None


def test_an_older_directory_gets_them_without_another_preparation(faces, tmp_path):
    source = faces({"list_attr_celeba.txt": PUBLISHED})
    made = prepare_images("celeba", source, tmp_path / "out", 64)
    index = json.loads((made.path / "index.json").read_text())
    del index["attributes"]
    (made.path / "index.json").write_text(json.dumps(index))
    (made.path / "attributes.npy").unlink()
    assert PreparedImages(made.path).attributes is None
    assert not prepare_images("celeba", source, tmp_path / "out", 64).new
    assert PreparedImages(made.path).attributes.values.tolist() == VALUES


@pytest.mark.parametrize("content", [b"", b"3\n", b"1\nBald Smiling\n1.jpg 1\n", b"1\nBald\n1.jpg yes\n", b"\xff"])
def test_a_damaged_file_is_refused(content):
    with pytest.raises(DataError, match="here.txt cannot be read as a file of attributes"):
        parse_attributes(content, "here.txt")


def test_a_damaged_array_is_refused(faces, tmp_path):
    made = prepare_images("celeba", faces({"list_attr_celeba.txt": PUBLISHED}), tmp_path / "out", 64)
    np.save(made.path / "attributes.npy", np.zeros((2, 2), bool))
    with pytest.raises(DataError, match="does not hold 2 attributes of 3 images"):
        _ = PreparedImages(made.path).attributes


# ------------------------------------------------------------------ a copy of CelebA-HQ in another size


def test_a_smaller_copy_of_celebahq_says_its_side(tmp_path):
    with zipfile.ZipFile(tmp_path / "hq.zip", "w") as archive:
        for i in range(2):
            archive.writestr(f"CelebA-HQ-img/{i}.jpg", face(i, 256, 256))
    words = ["prepare", "celebahq", str(tmp_path / "hq.zip"), "--out", str(tmp_path / "out")]
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 1 and "256 x 256, not 1024 x 1024" in refused.output
    made = CliRunner().invoke(main, [*words, "--source-side", "256"])
    assert made.exit_code == 0, made.output
    assert made.stdout.endswith("2 images of 256x256\n")
    assert len(open_dataset("celebahq-256", tmp_path / "out")) == 2
    with pytest.raises(InvalidInputError, match="images of celeba have no other size"):
        prepare_images("celeba", tmp_path / "hq.zip", tmp_path / "other", source_side=256)
    assert "--source-side" not in CliRunner().invoke(main, ["prepare", "celeba", "--help"]).output


# ------------------------------------------------------------------ real files


@pytest.mark.parametrize("resolution", [64, 128, 256])
def test_genuine_celeba_is_prepared_as_the_paper_does(shared, tmp_path, resolution):
    archive = shared("data/celeba178/celeba.zip")
    made = prepare_images("celeba", archive, tmp_path / "out", resolution, limit=3)
    dataset = open_dataset(f"celeba-{resolution}", made.path)
    with zipfile.ZipFile(archive) as files:
        whole = Image.open(io.BytesIO(files.read("img_align_celeba/000002.jpg"))).convert("RGB")
    size = (resolution, resolution)
    expected = tvf.center_crop(whole, [160, 160]).resize(size, Image.Resampling.LANCZOS)
    assert np.array_equal(dataset.pixels(np.array([1]))[0], np.array(expected))
    names, values = dataset.attributes
    assert values.shape == (3, 40) and (names[31], values[0, 31]) == ("Smiling", True)
    assert [names[i] for i in values[1].nonzero()[0]] == [
        "Bags_Under_Eyes",
        "Big_Nose",
        "Brown_Hair",
        "High_Cheekbones",
        "Mouth_Slightly_Open",
        "No_Beard",
        "Smiling",
        "Young",
    ]


def test_genuine_celebahq_at_256_is_prepared(shared, tmp_path):
    archive = shared("data/celebahq256/celebahq_256.zip")
    made = prepare_images("celebahq", archive, tmp_path / "out", limit=4, source_side=256)
    dataset = open_dataset("celebahq-256", made.path)
    with zipfile.ZipFile(archive) as files:
        whole = Image.open(io.BytesIO(files.read(dataset.index["names"][3]))).convert("RGB")
    assert np.array_equal(dataset.pixels(np.array([3]))[0], np.array(whole))
    assert dataset.attributes.values.shape == (4, 40)


def test_genuine_cars_are_prepared_from_frames_and_from_crops(shared, tmp_path):
    frames = prepare_images("cars", shared("data/cars/cars_train_sample.zip"), tmp_path / "frames", limit=4)
    assert open_dataset("cars-64", frames.path).attributes is None
    with pytest.raises(DataError, match="cut to their boxes already need none: `idgan prepare folder`"):
        prepare_images("cars", shared("data/cars/cars_64.zip"), tmp_path / "crops")
    crops = prepare_images("folder", shared("data/cars/cars_64.zip"), tmp_path / "crops", 64, limit=4)
    assert len(open_dataset("cars-64", crops.path)) == 4


def test_the_images_that_were_skipped_are_the_training_images(faces, tmp_path):
    source = faces({"list_attr_celeba.txt": PUBLISHED})
    training = PreparedImages(prepare_images("celeba", source, tmp_path / "training", limit=1).path)
    held_out = PreparedImages(prepare_images("celeba", source, tmp_path / "held-out", skip=1).path)
    second = PreparedImages(prepare_images("celeba", source, tmp_path / "second", skip=1, limit=1).path)
    assert training.index["names"] + held_out.index["names"] == [f"img_align_celeba/{i:06d}.jpg" for i in (1, 2, 3)]
    assert second.index["names"] == held_out.index["names"][:1]
    assert held_out.attributes.values.tolist() == VALUES[1:]
    with pytest.raises(InvalidInputError, match="skip must be less than the number of images, 3, got 3"):
        prepare_images("celeba", source, tmp_path / "none", skip=3)
    assert not (tmp_path / "none").exists()
    with pytest.raises(InvalidInputError, match="skip must be an integer of 0 or more, got -1"):
        prepare_images("celeba", source, tmp_path / "none", skip=-1)
