import io
import json
import pickle
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as tvf

from idgan.data import Batches, ImageFolder, PreparedImages, content_key, open_dataset, prepare_images
from idgan.errors import DataError, InvalidInputError, MissingDependencyError
from idgan.images import as_rgb

LANCZOS = Image.Resampling.LANCZOS


def noise(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def encoded(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def unit(image):
    """A PIL image -> (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


@pytest.fixture
def folder(tmp_path):
    """Five pictures of 40 x 32 with different pixels."""
    path = tmp_path / "pictures"
    path.mkdir()
    for i in range(5):
        noise(40, 32, i).save(path / f"{i}.png")
    return path


@pytest.fixture(params=["array", "files", "folder", "zip"])
def dataset(request, folder, tmp_path):
    """The five pictures, as every kind of dataset."""
    if request.param == "array":
        return PreparedImages(prepare_images("folder", folder, tmp_path / "out", 32).path)
    if request.param == "files":
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys.modules["idgan.data.prepare"], "MAX_ARRAY_RESOLUTION", 16)
            return PreparedImages(prepare_images("folder", folder, tmp_path / "out", 32).path)
    if request.param == "zip":
        with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
            for path in folder.iterdir():
                archive.write(path, path.name)
        return ImageFolder(tmp_path / "pictures.zip", 32)
    return ImageFolder(folder, 32)


def test_images_are_those_of_the_indices(dataset):
    assert (dataset.resolution, dataset.image_channels, len(dataset)) == (32, 3, 5)
    x = dataset.images(torch.tensor([4, 0, 4, 2]))
    assert (x.shape, x.dtype) == ((4, 3, 32, 32), torch.float32)
    assert torch.equal(x, torch.stack([unit(noise(40, 32, i).crop((4, 0, 36, 32))) for i in (4, 0, 4, 2)]))
    assert dataset.images(torch.empty(0, dtype=torch.long)).shape == (0, 3, 32, 32)


@pytest.mark.parametrize("indices", [[5], [-1], [[0]], [0.0], [True]])
def test_bad_indices_are_refused(dataset, indices):
    with pytest.raises(InvalidInputError, match="indices must be"):
        dataset.images(torch.tensor(indices))


def test_batches_are_a_function_of_the_step_whatever_the_number_of_processes(dataset):
    def batch(step, **options):
        return Batches(dataset, 6, seed=3, flip=True, dequantize=True, **options)(step).x

    halves = torch.cat([batch(7, rank=rank, world_size=2) for rank in range(2)])
    assert torch.equal(batch(7), halves)
    assert not torch.equal(batch(7), batch(8))


# ------------------------------------------------------------------ what a path may be


def test_torchvisions_layout_of_celeba_is_read_directly(tmp_path):
    root = tmp_path / "root"
    (root / "celeba" / "img_align_celeba").mkdir(parents=True)
    (root / "MNIST").mkdir()
    noise(28, 28).save(root / "MNIST" / "0.png")
    for i in (1, 2):
        noise(178, 218, i).save(root / "celeba" / "img_align_celeba" / f"{i:06d}.jpg")
    faces = [Image.open(path) for path in sorted(root.rglob("*.jpg"))]
    for name, size in ("celeba-64", 64), ("celeba-128", 128), ("celeba-256", 256):
        dataset = open_dataset(name, root)
        expected = [tvf.resize(tvf.center_crop(face, 160), size, tvf.InterpolationMode.LANCZOS) for face in faces]
        assert torch.equal(dataset.images(torch.arange(2)), torch.stack([unit(face) for face in expected]))


@pytest.mark.parametrize("name", ["celeba-64", "celeba-128", "celeba-256", "celebahq-1024", "chairs-64", "cars-64"])
def test_a_data_set_that_is_not_there_says_how_to_get_it(name, tmp_path, monkeypatch):
    monkeypatch.setenv("IDGAN_DATA", str(tmp_path))
    kind, resolution = name.split("-")
    command = f"idgan prepare {kind} SOURCE" + (f" --resolution {resolution}" if resolution in ("128", "256") else "")
    with pytest.raises(DataError, match=f"`{command}`.*https://"):
        open_dataset(name)
    with pytest.raises(DataError, match="does not exist"):
        open_dataset(name, tmp_path / "nowhere")


def test_a_tilde_is_the_home_directory(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    prepare_images("folder", folder, tmp_path / "out", 32)
    assert isinstance(open_dataset("folder", "~/out", 32), PreparedImages)
    assert len(PreparedImages("~/out")) == len(ImageFolder("~/pictures", 32)) == 5


def test_any_folder_needs_a_path_and_takes_a_resolution(folder):
    assert open_dataset("folder", folder).resolution == 64
    assert open_dataset("folder", folder, resolution=16).images(torch.tensor([0])).shape == (1, 3, 16, 16)
    with pytest.raises(InvalidInputError, match="needs a path"):
        open_dataset("folder")


def test_a_prepared_directory_must_have_the_resolution(folder, tmp_path):
    made = prepare_images("folder", folder, tmp_path / "out", 64)
    assert len(open_dataset("celeba-64", made.path)) == 5
    with pytest.raises(DataError, match=r"prepared at 64 px.*--resolution 128"):
        open_dataset("celeba-128", made.path)


def test_a_prepared_directory_knows_its_set(folder, tmp_path):
    raw = tmp_path / "faces"
    raw.mkdir()
    for i in range(3):
        noise(89, 109, i).save(raw / f"{i}.png")
    faces = prepare_images("celeba", raw, tmp_path / "celeba", 64).path
    assert PreparedImages(faces).kind == "celeba"
    assert len(open_dataset("celeba-64", faces)) == len(open_dataset("folder", faces)) == 3
    for name in ("chairs-64", "cars-64"):
        with pytest.raises(DataError, match=f"holds images of celeba, but the data set is {name}: choose another"):
            open_dataset(name, faces)
    own = prepare_images("folder", folder, tmp_path / "own", 64).path
    assert len(open_dataset("chairs-64", own)) == 5  # images of one's own serve every set
    index = json.loads((faces / "index.json").read_text())
    del index["kind"]
    (faces / "index.json").write_text(json.dumps(index))
    assert len(open_dataset("chairs-64", faces)) == 3  # an old directory that does not say


@pytest.mark.parametrize("damage", ["truncated", "missing", "fewer", "no json", "no names"])
def test_a_damaged_directory_is_refused(folder, tmp_path, damage):
    path = prepare_images("folder", folder, tmp_path / "out", 32).path
    array, index = path / "images.npy", path / "index.json"
    if damage == "truncated":
        array.write_bytes(array.read_bytes()[:-1])
    elif damage == "missing":
        array.unlink()
    elif damage == "fewer":
        index.write_text(json.dumps(json.loads(index.read_text()) | {"names": ["a"]}))
    else:
        index.write_text("{" if damage == "no json" else "{}")
    with pytest.raises(DataError, match="out"):
        open_dataset("folder", path, resolution=32)


def test_an_image_that_cannot_be_read_is_named(folder):
    (folder / "3.png").write_bytes(b"no picture")
    dataset = open_dataset("folder", folder, resolution=32)
    with pytest.raises(
        DataError, match=r"pictures/3.png cannot be used: it is not an image in one of the formats.*idgan prepare"
    ):
        dataset.images(torch.arange(5))


def test_compressed_archives_must_be_prepared(folder, tmp_path):
    for name, mode in ("a.tar", "w"), ("a.tar.gz", "w:gz"):
        with tarfile.open(tmp_path / name, mode) as archive:
            archive.add(folder, "pictures")
    assert len(ImageFolder(tmp_path / "a.tar", 32)) == 5
    with pytest.raises(DataError, match="run `idgan prepare folder"):
        ImageFolder(tmp_path / "a.tar.gz", 32)


def test_a_single_image_is_a_data_set(folder, tmp_path):
    for i in range(1, 5):
        (folder / f"{i}.png").unlink()
    prepared = prepare_images("folder", folder, tmp_path / "out", 32)
    assert (prepared.images, prepared.notes) == (1, [])
    for path in folder, prepared.path:
        dataset = open_dataset("folder", path, resolution=32)
        assert Batches(dataset, 4, seed=0)(0).x.shape == (4, 3, 32, 32)
        assert len(content_key(dataset)) == 64


# ------------------------------------------------------------------ processes


def test_a_pickle_holds_no_pixels_and_gives_the_same_images(dataset):
    indices = torch.arange(5)
    before = dataset.images(indices)
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 5000
    assert torch.equal(pickle.loads(pickled).images(indices), before)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_images_are_the_same_in_workers_of_a_loader(context, folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    with tarfile.open(tmp_path / "pictures.tar", "w") as archive:
        archive.add(folder, "pictures")
    prepared = PreparedImages(prepare_images("folder", folder, tmp_path / "out", 32).path)
    parts = [prepared, *(ImageFolder(tmp_path / name, 32) for name in ("pictures", "pictures.zip", "pictures.tar"))]
    rows = [torch.tensor([0, 3]), torch.tensor([4, 1, 2])]
    for part in parts:
        expected = [part.images(some) for some in rows]  # opens files and starts threads
        loader = torch.utils.data.DataLoader(
            rows, batch_size=None, collate_fn=part.images, num_workers=2, multiprocessing_context=context, timeout=100
        )
        assert all(map(torch.equal, loader, expected))


# ------------------------------------------------------------------ Hugging Face


@pytest.fixture
def parquet(tmp_path, monkeypatch):
    """A local data set with a column of three faces, and another column."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = {"label": [0, 1, 2], "image": [{"bytes": encoded(noise(178, 218, i)), "path": None} for i in range(3)]}
    features = datasets.Features({"label": datasets.Value("int64"), "image": datasets.Image()})
    path = tmp_path / "faces" / "train.parquet"
    path.parent.mkdir()
    datasets.Dataset.from_dict(rows, features).to_parquet(path)
    return path


def test_hugging_face_data_sets_are_read_and_prepared(parquet, tmp_path):
    faces = torch.stack([unit(noise(178, 218, i).crop((9, 29, 169, 189)).resize((64, 64), LANCZOS)) for i in range(3)])
    for spec in f"hf:{parquet}", f"hf:{parquet.parent}", f"hf:{parquet.parent}:train", f"hf:{parquet.parent}:all":
        assert torch.equal(open_dataset("celeba-64", spec).images(torch.arange(3)), faces)
    square = unit(noise(178, 218, 1).crop((0, 20, 178, 198)).resize((32, 32), LANCZOS))
    assert torch.equal(open_dataset(f"hf:{parquet}", resolution=32).images(torch.tensor([1]))[0], square)
    made = prepare_images("celeba", f"hf:{parquet}", tmp_path / "out")
    assert torch.equal(open_dataset("celeba-64", made.path).images(torch.arange(3)), faces)
    with pytest.raises(DataError, match="cannot be loaded"):
        open_dataset(f"hf:{parquet.parent}:test")


def test_hugging_face_data_sets_need_images(parquet):
    import datasets

    datasets.Dataset.from_dict({"text": ["a"]}).to_parquet(parquet)
    with pytest.raises(DataError, match="no column of images, only text"):
        open_dataset(f"hf:{parquet}")


def test_optional_libraries_are_asked_for(monkeypatch):
    from idgan.data.cars import read_boxes

    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(MissingDependencyError, match="extra 'data' of idgan"):
        open_dataset("hf:org/name")
    with pytest.raises(MissingDependencyError, match="extra 'data' of idgan"):
        read_boxes(b"", "cars_train_annos.mat")


# ------------------------------------------------------------------ one image


def rgb(content):
    return np.asarray(as_rgb(content))


def test_every_kind_of_pixel_becomes_rgb():
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (rgb(encoded(Image.fromarray(gray))) == gray[:, :, None]).all()
    assert (rgb(encoded(Image.fromarray(gray.astype(np.uint16) * 257))) == gray[:, :, None]).all()
    assert (rgb(encoded(Image.new("1", (4, 4), 1))) == 255).all()
    assert (rgb(encoded(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG")) > 250).all()
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    assert (rgb(encoded(palette)) == (10, 200, 30)).all()
    assert (rgb(encoded(Image.new("P", (4, 4), 0), transparency=0)) == 255).all()
    assert (rgb(encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 0)))) == 255).all()
    assert (rgb(encoded(Image.new("LA", (4, 4), (0, 51)))) == 204).all()
    assert (rgb(encoded(Image.new("F", (4, 4), 0.2), "TIFF")) == 51).all()
    with pytest.raises(InvalidInputError, match="must lie in"):
        as_rgb(encoded(Image.new("F", (4, 4), 51), "TIFF"))


def test_images_are_turned_upright():
    image = noise(24, 16)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    assert (rgb(encoded(image, exif=exif)) == np.rot90(np.asarray(image), -1)).all()


def test_decompression_bombs_are_refused(monkeypatch):
    bomb = encoded(Image.new("RGB", (40, 40)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with (
        pytest.raises(InvalidInputError, match=r"40 x 40 pixels: more than the limit of 1,000 pixels"),
        pytest.warns(Image.DecompressionBombWarning),
    ):
        as_rgb(bomb)
