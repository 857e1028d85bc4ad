import errno
import hashlib
import io
import json
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from huggingface_hub.utils import WeakFileLock
from PIL import Image
from torchvision.transforms import functional as tvf

from idgan.cli import main
from idgan.data import CenterCrop, CenterSquare, Whole, open_dataset, prepare_images
from idgan.data.cars import Box
from idgan.data.prepare import _fingerprint
from idgan.data.prepare import _Preparation as Preparation
from idgan.errors import DataError, InvalidInputError

LANCZOS = Image.Resampling.LANCZOS


def noise(width, height, seed=0):
    """A picture with different pixels everywhere."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def encoded(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def write_tree(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path, files, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def faces(n, width=89, height=109):
    """The content of a small CelebA archive: `n` JPEG files."""
    return {f"img_align_celeba/{i:06d}.jpg": encoded(noise(width, height, i), "JPEG") for i in range(1, n + 1)}


def pixels(made):
    return np.load(made.path / "images.npy")


def index(made):
    return json.loads((made.path / "index.json").read_text())


# ------------------------------------------------------------------ geometry


@pytest.mark.parametrize(
    ("kind", "size", "box"),
    [
        ("celeba", (178, 218), (9, 29, 169, 189)),
        ("celeba", (89, 109), (4, 14, 84, 94)),
        ("celeba", (356, 436), (18, 58, 338, 378)),
        ("chairs", (600, 600), (75, 75, 525, 525)),
        ("folder", (101, 64), (18, 0, 82, 64)),
        ("folder", (64, 101), (0, 18, 64, 82)),
        ("folder", (40, 40), (0, 0, 40, 40)),
    ],
)
@pytest.mark.parametrize("resolution", [64, 128])
def test_the_crop_is_exact_and_nothing_outside_it_matters(tmp_path, kind, size, box, resolution):
    inside = noise(box[2] - box[0], box[3] - box[1])
    image = Image.new("RGB", size, "red")
    image.paste(inside, box[:2])
    made = prepare_images(
        kind, write_tree(tmp_path / "source", {"000001.png": encoded(image)}), tmp_path / "out", resolution
    )
    assert (pixels(made)[0] == np.asarray(inside.resize((resolution, resolution), LANCZOS))).all()


def test_the_crop_of_celeba_is_torchvisions(shared, tmp_path):
    archive = shared("data/celeba/img_align_celeba.zip")
    made = prepare_images("celeba", archive, tmp_path / "out", limit=100)
    names = index(made)["names"]
    assert names == [f"img_align_celeba/{i:06d}.jpg" for i in range(1, 101)]
    assert any("9001 to 202599" in note for note in made.notes)
    with zipfile.ZipFile(archive) as files:
        for name, found in zip(names, pixels(made)):
            face = tvf.center_crop(Image.open(files.open(name)), 80)
            assert (found == np.asarray(face.resize((64, 64), LANCZOS))).all()


def test_images_of_another_shape_are_refused(tmp_path):
    source = write_tree(tmp_path / "source", {"000001.png": encoded(noise(178, 178))})
    with pytest.raises(DataError, match=r"000001.png \(it is 178 x 178, not 178 x 218"):
        prepare_images("celeba", source, tmp_path / "out")


def test_celeba_hq_keeps_the_published_files(tmp_path):
    flat = {f"{i}.jpg": encoded(Image.new("RGB", (1024, 1024), (10 * i, 0, 99)), "JPEG") for i in range(3)}
    made = prepare_images("celebahq", write_tree(tmp_path / "CelebA-HQ-img", flat), tmp_path / "out")
    assert [path.read_bytes() for path in sorted((made.path / "images").iterdir())] == list(flat.values())
    assert any("29,997 of the 30,000 published images are missing (3 to 29999)" in note for note in made.notes)
    small = prepare_images("celebahq", tmp_path / "CelebA-HQ-img", tmp_path / "small", 64)
    assert pixels(small).shape == (3, 64, 64, 3)
    with pytest.raises(DataError, match="not 1024 x 1024"):
        prepare_images("celebahq", write_tree(tmp_path / "other", {"0.png": encoded(noise(64, 64))}), tmp_path / "none")


def test_large_images_become_files(tmp_path):
    image, ready = noise(272, 300), encoded(noise(272, 272), "JPEG")
    source = write_zip(tmp_path / "source.zip", {"../../outside.png": encoded(image), "b/ready.JPG": ready})
    made = prepare_images("folder", source, tmp_path / "home" / "out", 272)
    files = sorted((made.path / "images").iterdir())
    assert [path.name for path in files] == ["0000000.png", "0000001.jpg"]
    assert (np.asarray(Image.open(files[0])) == np.asarray(image.crop((0, 14, 272, 286)))).all()
    assert files[1].read_bytes() == ready
    assert {path.name for path in tmp_path.iterdir()} == {"source.zip", "home"}
    assert not made.notes
    assert len(open_dataset("folder", made.path, resolution=272)) == 2


# ------------------------------------------------------------------ sources


def test_folders_and_archives_of_all_kinds_give_the_same(tmp_path):
    files = faces(5)
    noisy = files | {
        "__MACOSX/img_align_celeba/._000001.jpg": b"-",
        "img_align_celeba/.hidden.jpg": b"-",
        "list_attr_celeba.txt": b"-",
    }
    several = tmp_path / "several"
    several.mkdir()
    sources = [
        write_tree(tmp_path / "tree", noisy),
        write_zip(tmp_path / "a.zip", dict(reversed(noisy.items()))),
        write_tar(tmp_path / "a.tar", dict(reversed(noisy.items()))),
        write_tar(tmp_path / "a.tgz", noisy, "w:gz"),
        write_zip(several / "a.zip", noisy).parent,
    ]
    made = [prepare_images("celeba", source, tmp_path / f"out{i}") for i, source in enumerate(sources)]
    assert len({index(each)["sha256"] for each in made}) == 1
    content = (made[0].path / "images.npy").read_bytes()
    assert index(made[0])["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_compressed_archive_is_read_in_its_own_order(tmp_path):
    files = dict(reversed(faces(4).items()))
    made = prepare_images("celeba", write_tar(tmp_path / "a.tgz", files, "w:gz"), tmp_path / "out")
    assert index(made)["names"] == list(files)


def test_the_source_is_not_touched(tmp_path):
    files = faces(120)
    files["img_align_celeba/000007.jpg"] = b"no picture"
    tree, archive = write_tree(tmp_path / "tree", files), write_zip(tmp_path / "a.zip", files)

    def state():
        paths = [archive, *sorted(tree.rglob("*"))]
        return [(path, path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in paths]

    before = state()
    for source in (tree, archive):
        prepare_images("celeba", source, tmp_path / f"{source.name}-out")
    assert state() == before


@pytest.mark.parametrize("kind", ["celeba", "celebahq", "chairs", "cars"])
def test_errors_about_missing_images_say_where_to_get_them(tmp_path, kind):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="https://"):
        prepare_images(kind, tmp_path / "empty", tmp_path / "out")
    with pytest.raises(DataError, match="nowhere does not exist"):
        prepare_images(kind, tmp_path / "nowhere", tmp_path / "out")


@pytest.mark.parametrize(
    "content", [b"<html>quota exceeded</html>", b"", encoded(noise(8, 8)), b"7z\xbc\xaf\x27\x1c" + b"\0" * 600]
)
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = write_tree(tmp_path, {"img_align_celeba.zip": content}) / "img_align_celeba.zip"
    with pytest.raises(DataError, match="cannot be read as a zip or tar archive"):
        prepare_images("celeba", path, tmp_path / "out")


@pytest.mark.parametrize("make", [write_zip, lambda path, files: write_tar(path, files, "w:gz")])
def test_a_truncated_archive_is_refused(tmp_path, make):
    path = make(tmp_path / "a", faces(20))
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataError, match="Download it again"):
        prepare_images("celeba", path, tmp_path / "out")


def test_missing_images_are_named(tmp_path):
    files = {name: content for name, content in faces(9).items() if name[-5] not in "25678"}
    made = prepare_images("celeba", write_zip(tmp_path / "a.zip", files), tmp_path / "out")
    assert "202,595 of the 202,599 published images are missing (2, 5 to 8, 10 to 202599)" in made.notes[0]
    assert "https://mmlab.ie.cuhk.edu.hk" in made.notes[0]
    views = {
        f"rendered_chairs/{chair}/renders/image_{i:03d}.png": encoded(Image.new("RGB", (60, 60)))
        for chair in "ab"
        for i in range(62)
    }
    del views["rendered_chairs/b/renders/image_007.png"]
    made = prepare_images("chairs", write_zip(tmp_path / "b.zip", views), tmp_path / "chairs")
    assert "86,243 of the 86,366 published images are missing (1 views of b)" in made.notes[0]


# ------------------------------------------------------------------ damaged images


@pytest.fixture
def damaged():
    """250 small photos. Two of them are damaged."""
    files = {f"{i:03d}.jpg": encoded(noise(20, 20, i), "JPEG") for i in range(250)}
    return files | {"010.jpg": files["010.jpg"][:300], "200.jpg": b"<html>"}


def test_damaged_images_are_left_out_and_reported(tmp_path, damaged):
    made = prepare_images("folder", write_tree(tmp_path / "source", damaged), tmp_path / "out", 16)
    assert list(made.skipped) == ["source/010.jpg", "source/200.jpg"]
    assert "truncated" in made.skipped["source/010.jpg"].lower()
    assert any("2 images cannot be used" in note and "200.jpg" in note for note in made.notes)
    assert made.images == len(pixels(made)) == 248
    for name, found in zip(index(made)["names"], pixels(made)):
        whole = Image.open(io.BytesIO(damaged[Path(name).name]))
        assert (found == np.asarray(whole.resize((16, 16), LANCZOS))).all(), name


def test_more_than_one_percent_of_damaged_images_is_an_error(tmp_path, damaged):
    source = write_tree(tmp_path / "source", damaged | {"201.jpg": b""})
    with pytest.raises(
        DataError, match=r"more than 1% of 250 images cannot be used: source/010.jpg .*source/200.jpg .*source/201.jpg"
    ):
        prepare_images("folder", source, tmp_path / "out", 16)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_damaged_member_of_an_archive_is_left_out(tmp_path, damaged):
    path = write_zip(
        tmp_path / "a.zip", {name: damaged[name] for name in sorted(damaged) if name not in ("010.jpg", "200.jpg")}
    )
    content = bytearray(path.read_bytes())
    content[content.index(damaged["100.jpg"]) + 400] ^= 1
    path.write_bytes(content)
    made = prepare_images("folder", path, tmp_path / "out", 16)
    assert list(made.skipped) == ["100.jpg"]
    assert "CRC" in made.skipped["100.jpg"]


def test_tiny_images_are_refused_and_small_ones_are_enlarged(tmp_path):
    source = write_tree(tmp_path / "source", {"a.png": encoded(noise(32, 40)), "b.png": encoded(noise(64, 64))})
    assert prepare_images("folder", source, tmp_path / "out").notes == [
        "1 images were cut from less than 64 px, and enlarged"
    ]
    write_tree(source, {"c.png": encoded(noise(15, 400))})
    with pytest.raises(DataError, match="it is 15 x 400 px, too small"):
        prepare_images("folder", source, tmp_path / "other")


# ------------------------------------------------------------------ interruption

KILLED = """
import os, signal, sys
from idgan.data import prepare_images
module = sys.modules["idgan.data.prepare"]
module.SAVE_EVERY = 8
deal_with = module._Preparation._deal_with
def dying(self, name, future):
    deal_with(self, name, future)
    if self.done == 45:
        self.storage.flush()  # as if the method had written what it holds back
        os.kill(os.getpid(), signal.SIGKILL)
module._Preparation._deal_with = dying
prepare_images("celeba", sys.argv[1], sys.argv[2])
"""


@pytest.fixture
def converted(monkeypatch):
    """The names of the images that are converted, in order."""
    names, convert = [], Preparation._convert
    monkeypatch.setattr(
        Preparation, "_convert", lambda self, name, content: (names.append(name), convert(self, name, content))[1]
    )
    return names


def assert_same(made, whole):
    assert index(made) == index(whole)
    names = sorted(path.relative_to(made.path) for path in made.path.rglob("*"))
    assert names == sorted(path.relative_to(whole.path) for path in whole.path.rglob("*"))
    assert all(
        (made.path / name).read_bytes() == (whole.path / name).read_bytes()
        for name in names
        if (made.path / name).is_file()
    )


def test_a_killed_preparation_continues(tmp_path, converted):
    source = write_zip(tmp_path / "a.zip", faces(110) | {"img_align_celeba/000003.jpg": b"no picture"})
    command = [sys.executable, "-c", KILLED, str(source), str(tmp_path / "out")]
    killed = subprocess.run(command, capture_output=True, cwd=Path(__file__).parents[2])
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    with pytest.raises(DataError, match="not finished"):
        open_dataset("celeba-64", tmp_path / "out")

    made = prepare_images("celeba", source, tmp_path / "out")
    assert sorted(converted) == [
        f"img_align_celeba/{i:06d}.jpg" for i in range(41, 111)
    ]  # 45 were done, and the last note of progress was after 40
    assert list(made.skipped) == ["img_align_celeba/000003.jpg"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "out"}
    assert_same(made, prepare_images("celeba", source, tmp_path / "whole"))


@pytest.mark.parametrize("last", [13, 20])
def test_an_interrupted_preparation_of_files_continues(tmp_path, converted, monkeypatch, last):
    source, out = write_zip(tmp_path / "a.zip", faces(20)), tmp_path / "out"
    deal_with = Preparation._deal_with

    def interrupted(self, name, future):
        deal_with(self, name, future)
        if self.done == last:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules[Preparation.__module__], "SAVE_EVERY", 8)
    monkeypatch.setattr(Preparation, "_deal_with", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_images("celeba", source, out, 272)
    assert not (out / "index.json").exists()
    monkeypatch.setattr(Preparation, "_deal_with", deal_with)
    converted.clear()
    made = prepare_images("celeba", source, out, 272)
    assert len(converted) == (12 if last == 13 else 0)
    assert_same(made, prepare_images("celeba", source, tmp_path / "whole", 272))


def test_what_is_ready_is_not_made_again(tmp_path):
    source = write_zip(tmp_path / "a.zip", faces(4))
    first = prepare_images("celeba", source, tmp_path / "out")
    before = (first.path / "images.npy").stat().st_mtime_ns
    again = prepare_images("celeba", source, tmp_path / "out")
    assert (first.new, again.new) == (True, False)
    assert again.notes == first.notes
    assert (first.path / "images.npy").stat().st_mtime_ns == before


def test_an_unfinished_preparation_of_something_else_is_not_continued(tmp_path):
    state = b'{"identity": {"kind": "chairs"}, "done": 3}'
    partial = write_tree(tmp_path / "out.partial", {"progress.json": state, "images.npy": b"x" * 999})
    made = prepare_images("celeba", write_zip(tmp_path / "a.zip", faces(2)), tmp_path / "out")
    assert pixels(made).shape == (2, 64, 64, 3)
    assert not partial.exists()


def test_other_peoples_directories_are_left_alone(tmp_path):
    source = write_zip(tmp_path / "a.zip", faces(4))
    made = prepare_images("celeba", source, tmp_path / "out")
    for options in ({"resolution": 32}, {"limit": 2}):
        with pytest.raises(DataError, match="prepared from something else"):
            prepare_images("celeba", source, tmp_path / "out", **options)
    assert len(pixels(made)) == 4
    write_tree(tmp_path / "mine", {"thesis.tex": b"precious"})
    with pytest.raises(DataError, match="not made by `idgan prepare`"):
        prepare_images("celeba", source, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    (tmp_path / "empty").mkdir()
    assert prepare_images("celeba", source, tmp_path / "empty").images == 4


def test_two_processes_do_not_share_a_directory(tmp_path):
    source = write_zip(tmp_path / "a.zip", faces(2))
    (tmp_path / "out").mkdir()
    with WeakFileLock(tmp_path / "out" / ".lock"), pytest.raises(DataError, match="another process is preparing"):
        prepare_images("celeba", source, tmp_path / "out")
    assert prepare_images("celeba", source, tmp_path / "out").new


def test_a_full_disk_is_seen_before(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=64 * 64 * 3 - 1))
    with pytest.raises(DataError, match="GB are free"):
        prepare_images("celeba", write_zip(tmp_path / "a.zip", faces(1)), tmp_path / "out")


@pytest.mark.parametrize(
    "options", [{"kind": "cats"}, {"resolution": 4}, {"resolution": 9999}, {"limit": 0}, {"workers": 0}]
)
def test_bad_arguments_are_refused(tmp_path, options):
    with pytest.raises(InvalidInputError):
        prepare_images(**{"kind": "folder", "source": tmp_path, "out": tmp_path / "out"} | options)


# ------------------------------------------------------------------ where it goes


def test_the_content_of_a_directory_is_identified_as_in_older_versions():
    crops = {
        "img_align_celeba/000001.jpg": CenterCrop(160, width=178, height=218),
        "b.png": Whole(1024),
        "c.png": CenterSquare(),
        "cars_train/1.jpg": Box(1, 2, 103, 104),
    }
    files = SimpleNamespace(sizes=dict(zip(crops, (7, 11, 13, 17))))
    assert _fingerprint(files, crops) == "bb2c5961dae7ea1db69f9930b740f1703dadf1ffe8e184a96ec8fbc05d89e0a4"


def test_out_may_be_a_link_to_a_directory(tmp_path):
    source = write_zip(tmp_path / "a.zip", faces(2))
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    (tmp_path / "later").symlink_to("new/place")
    for name, place in ("out", "disk"), ("later", "new/place"):
        assert prepare_images("celeba", source, tmp_path / name).new
        assert sorted(path.name for path in (tmp_path / place).iterdir()) == ["images.npy", "index.json"]
        assert (tmp_path / name).is_symlink()
        assert not prepare_images("celeba", source, tmp_path / name).new


def test_out_may_be_the_root_of_a_file_system(tmp_path):
    out = write_tree(tmp_path / "out", {"lost+found/x": b"", ".DS_Store": b""})
    assert prepare_images("celeba", write_zip(tmp_path / "a.zip", faces(2)), out).new
    assert len(open_dataset("celeba-64", out)) == 2


def test_out_inside_of_the_source_is_refused_before_the_work(tmp_path):
    source = write_tree(tmp_path / "source", faces(2))
    (tmp_path / "link").symlink_to("source")
    for out in source / "out", source, tmp_path / "link" / "out", source / "x" / ".." / "out":
        with pytest.raises(InvalidInputError, match="inside of the source"):
            prepare_images("celeba", source, out)
    assert [path.name for path in source.iterdir()] == ["img_align_celeba"]
    assert prepare_images("celeba", source, source / ".cache" / "out").images == 2  # hidden, so no part of the source
    assert not prepare_images("celeba", source, source / ".cache" / "out").new


def test_out_that_cannot_be_written_is_refused_before_the_work(tmp_path, converted, monkeypatch):
    source = write_zip(tmp_path / "a.zip", faces(2))
    (tmp_path / "file").write_bytes(b"precious")
    for out in tmp_path / "file", tmp_path / "file" / "out":
        with pytest.raises(DataError, match=r"file.*(not made by|cannot be)"):
            prepare_images("celeba", source, out)

    def refusing(path, *arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refusing)
    with pytest.raises(DataError, match="out cannot be written: Read-only file system"):
        prepare_images("celeba", source, tmp_path / "out")
    assert not converted and (tmp_path / "file").read_bytes() == b"precious"


def test_a_finished_directory_may_be_read_only(tmp_path, monkeypatch):
    source = write_zip(tmp_path / "a.zip", faces(2))
    made = prepare_images("celeba", source, tmp_path / "out")
    before = made.path.stat().st_mtime_ns
    assert not prepare_images("celeba", source, tmp_path / "out").new
    assert made.path.stat().st_mtime_ns == before


def test_a_preparation_that_an_older_version_began_is_continued(tmp_path, converted, monkeypatch):
    source, out = write_zip(tmp_path / "a.zip", faces(20)), tmp_path / "out"
    interrupt(monkeypatch, source, out, last=13)
    out.rename(tmp_path / "out.partial")
    converted.clear()
    assert prepare_images("celeba", source, out).images == 20
    assert len(converted) == 12
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "out"}


def test_a_disk_that_gets_full_is_named_and_no_work_is_lost(tmp_path):
    """A limit on the size of files stands in for the disk."""
    source, out = write_zip(tmp_path / "a.zip", faces(20)), tmp_path / "out"
    command = [sys.executable, "-c", LIMITED, str(source), str(out)]
    limited = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert limited.returncode == 0, limited.stderr
    assert f"could not write 12,288 bytes to {out / 'images.npy'}" in limited.stdout
    assert "Run the same command again to continue after 16 images" in limited.stdout
    assert json.loads((out / "progress.json").read_text())["done"] == 16
    assert_same(prepare_images("celeba", source, out), prepare_images("celeba", source, tmp_path / "whole"))


LIMITED = """
import resource, sys
from idgan.data import prepare_images
from idgan.errors import DataError
sys.modules["idgan.data.prepare"].SAVE_EVERY = 8
resource.setrlimit(resource.RLIMIT_FSIZE, (128 + 16 * 12288 + 5000,) * 2)
try:
    prepare_images("celeba", sys.argv[1], sys.argv[2])
except DataError as error:
    print(error)
"""


def interrupt(monkeypatch, source, out, last):
    """Prepare `source`, noting the progress every 8 images, and stop after the image `last`."""
    deal_with = Preparation._deal_with

    def interrupted(self, name, future):
        deal_with(self, name, future)
        if self.done == last:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(sys.modules[Preparation.__module__], "SAVE_EVERY", 8)
        patched.setattr(Preparation, "_deal_with", interrupted)
        prepare_images("celeba", source, out)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_max_pixels_admits_huge_photos(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    source = write_tree(tmp_path / "source", {"a.png": encoded(noise(20, 20))})
    with pytest.raises(DataError, match=r"source/a.png .*more than the limit of 100 pixels. Raise max_pixels"):
        prepare_images("folder", source, tmp_path / "out", 16)
    assert prepare_images("folder", source, tmp_path / "out", 16, max_pixels=400).images == 1
    assert Image.MAX_IMAGE_PIXELS == 100


def test_numpy_integers_are_integers(tmp_path):
    source = write_zip(tmp_path / "a.zip", faces(3))
    options = {"limit": np.int64(2), "workers": np.int32(1), "max_pixels": np.int64(10**6)}
    assert prepare_images("celeba", source, tmp_path / "out", np.int64(16), **options).images == 2
    assert len(open_dataset("folder", tmp_path / "out", np.int64(16))) == 2


# ------------------------------------------------------------------ cars


def annotations(boxes):
    """A file like cars_train_annos.mat: file name -> (x1, y1, x2, y2)."""
    savemat = pytest.importorskip("scipy.io").savemat
    fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
    rows = np.empty((1, len(boxes)), [(field, object) for field in fields])
    for i, (name, box) in enumerate(boxes.items()):
        rows[0, i] = (*box, 1, name)
    file = io.BytesIO()
    savemat(file, {"annotations": rows})
    return file.getvalue()


def test_cars_are_cut_by_their_boxes(tmp_path):
    boxes = {
        "1.png": (10, 20, 110, 90),
        "2.png": (0, 0, 63, 100),
        "3.png": (30, 40, 94, 104),
        "4.png": (50, 30, 135, 97),
    }
    boxes["9.png"] = (0, 0, 80, 80)
    photos = {f"{i}.png": noise(128, 96, i) for i in range(1, 6)} | {"3.png": noise(200, 200, 3)}
    source = write_tree(tmp_path / "cars", {f"cars_train/{name}": encoded(photo) for name, photo in photos.items()})
    write_tree(source, {"devkit/cars_train_annos.mat": annotations(boxes), "cars_test/1.png": encoded(noise(99, 99))})
    made = prepare_images("cars", source, tmp_path / "out")
    assert [Path(name).name for name in index(made)["names"]] == ["1.png", "3.png", "4.png"]
    cuts = [
        photos["1.png"].crop(boxes["1.png"]),
        photos["3.png"].crop(boxes["3.png"]),
        photos["4.png"].crop((50, 30, 128, 96)),
    ]
    assert all((found == np.asarray(cut.resize((64, 64), LANCZOS))).all() for found, cut in zip(pixels(made), cuts))
    notes = " / ".join(made.notes)
    assert "16,181 of the 16,185 published images are missing" in notes
    assert "1 images in cars_train/ have no annotation" in notes
    assert "1 images in cars_test/ have no annotation" in notes
    assert "1 annotated images are missing: cars_train/9.png" in notes
    assert "below 64 px: 1" in notes


def test_annotations_beside_the_source_that_belong_to_other_images_change_nothing(tmp_path):
    source = write_tree(tmp_path / "cars", {f"cars_train/{i}.png": encoded(noise(128, 96, i)) for i in (1, 2)})
    own = {"1.png": (10, 20, 110, 90), "2.png": (0, 0, 100, 96)}
    write_tree(source, {"devkit/cars_train_annos.mat": annotations(own)})
    alone = prepare_images("cars", source, tmp_path / "alone")
    other = annotations({"1.png": (0, 0, 70, 70), "3.png": (0, 0, 90, 90)})
    write_tree(tmp_path, {"cars_train_annos.mat": other, "cars_test_annos.mat": b"damaged"})
    made = prepare_images("cars", source, tmp_path / "out")
    assert index(made)["names"] == index(alone)["names"]
    assert (pixels(made) == pixels(alone)).all()
    assert not any("cars_test/" in note for note in made.notes)


def test_annotations_of_larger_images_are_refused(tmp_path):
    crops = {f"cars_train/{i}.png": encoded(noise(64, 64, i)) for i in range(3)}
    boxes = annotations({f"{i}.png": (20 * i, 10, 500, 300) for i in range(3)})
    write_tree(tmp_path, {"cars_train_annos.mat": boxes})
    with pytest.raises(DataError, match="0.png .*mostly outside of its 64 x 64 px: the annotations belong to other"):
        prepare_images("cars", write_zip(tmp_path / "cars_64.zip", crops), tmp_path / "out")


def test_cars_of_one_folder_and_of_archives(tmp_path):
    files = {f"cars_test/{i}.png": encoded(noise(80, 80, i)) for i in range(3)}
    boxes = annotations({f"{i}.png": (1, 2, 78, 77) for i in range(3)})
    home = write_tree(tmp_path / "home", files | {"cars_test_annos_withlabels.mat": boxes})
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    write_tar(downloads / "cars_test.tgz", files, "w:gz")
    write_tar(downloads / "car_devkit.tgz", {"devkit/cars_test_annos.mat": boxes}, "w:gz")
    made = [
        prepare_images("cars", source, tmp_path / f"out{i}")
        for i, source in enumerate((home, home / "cars_test", downloads))
    ]
    assert len({index(each)["sha256"] for each in made}) == 1


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file" + b"\0" * 200])
def test_damaged_annotations_are_refused(tmp_path, content):
    pytest.importorskip("scipy")
    source = write_tree(
        tmp_path / "cars", {"cars_train/1.png": encoded(noise(80, 80)), "cars_train_annos.mat": content}
    )
    with pytest.raises(DataError, match="annotation file of Stanford Cars"):
        prepare_images("cars", source, tmp_path / "out")


def test_genuine_cars_come_out_as_the_genuine_crops(shared, tmp_path):
    pytest.importorskip("scipy")
    made = prepare_images("cars", shared("data/cars/cars_train_sample.zip"), tmp_path / "out")
    assert made.images == 81
    with zipfile.ZipFile(shared("data/cars/cars_64.zip")) as genuine:
        crops = {Path(name).name: name for name in genuine.namelist()}
        pairs = [
            (found, crops[Path(name).name])
            for name, found in zip(index(made)["names"], pixels(made))
            if Path(name).name in crops
        ]
        differences = [
            np.abs(found - np.asarray(Image.open(genuine.open(name)), float)).mean() for found, name in pairs
        ]
    assert len(differences) == 75
    assert max(differences) < 3.5  # gray levels: both were compressed; a box off by one pixel gives 10, bicubic 4.1


def test_genuine_boxes_drop_the_same_cars(shared):
    pytest.importorskip("scipy")
    from idgan.data.cars import SMALLEST, read_boxes

    path = shared("data/cars/cars_train_annos.mat")
    kept = {
        name.removeprefix("cars_train/")
        for name, box in read_boxes(path.read_bytes(), path.name).items()
        if box.side >= SMALLEST
    }
    with zipfile.ZipFile(shared("data/cars/cars_64.zip")) as genuine:
        crops = {Path(name).name for name in genuine.namelist()}
    assert {name for name in kept if name <= max(crops)} == crops


# ------------------------------------------------------------------ command line


def test_the_command_puts_images_where_the_data_set_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("IDGAN_DATA", str(tmp_path / "data"))
    result = CliRunner().invoke(
        main, ["prepare", "celeba", str(write_zip(tmp_path / "a.zip", faces(3))), "--limit", "2"]
    )
    assert result.exit_code == 0, result.output
    assert "celeba-64: 2 images of 64x64" in result.stdout
    assert "note: 202,596 of the 202,599" in result.stderr
    assert len(open_dataset("celeba-64")) == 2
    result = CliRunner().invoke(main, ["prepare", "celeba", str(tmp_path / "nowhere")])
    assert result.exit_code == 1
    assert "does not exist" in result.stderr
