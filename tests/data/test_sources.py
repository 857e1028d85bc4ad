"""Files of any source: which are found, under which names, and what is never read."""

import io
import os
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from idgan.data import prepare_images
from idgan.data.sources import open_files
from idgan.errors import DataError, InvalidInputError


def picture(format="PNG"):
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """A folder with two pictures."""
    path = tmp_path / "photos"
    path.mkdir()
    for name in "ab":
        (path / f"{name}.png").write_bytes(picture())
    return path


# ------------------------------------------------------------------ names


def test_names_that_are_not_utf8(folder, tmp_path):
    os.rename(os.fsencode(folder / "a.png"), os.fsencode(folder) + b"/caf\xe9.png")
    made = prepare_images("folder", folder, tmp_path / "out", 16)
    assert made.images == 2 and not made.skipped
    assert not prepare_images("folder", folder, tmp_path / "out", 16).new


@pytest.mark.parametrize("place", [".photos", ".hidden/photos", "__MACOSX/photos"])
def test_a_source_may_be_hidden_itself(folder, place, tmp_path):
    path = tmp_path / "home" / place
    path.parent.mkdir(parents=True)
    folder.rename(path)
    assert [name.rpartition("/")[2] for name in open_files(path).images] == ["a.png", "b.png"]
    with zipfile.ZipFile(path / "c.zip", "w") as archive:
        archive.writestr("c.png", picture())
    (path / "a.png").unlink(), (path / "b.png").unlink()
    assert [name.rpartition("/")[2] for name in open_files(path).images] == ["c.png"]
    assert len(open_files(path / "c.zip").images) == 1


def test_hidden_files_inside_of_a_source_are_left_out(folder):
    (folder / ".git").mkdir()
    for name in ".git/c.png", ".c.png", "._a.png":
        (folder / name).write_bytes(picture())
    assert open_files(folder).images == ["photos/a.png", "photos/b.png"]


def test_a_zip_archive_from_windows(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        for name in "photos\\0.png", "photos\\._0.png", "photos\\sub\\1.png", "photos\\":
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, picture() if name.endswith("png") else b"")
    files = open_files(tmp_path / "w.zip")
    assert files.images == ["photos/0.png", "photos/sub/1.png"]
    assert files.read("photos/sub/1.png") == picture()


def test_what_pillow_reads_is_taken_and_other_images_are_named(folder, tmp_path):
    for name, format in ("c.gif", "GIF"), ("d.JFIF", "JPEG"), ("e.pgm", "PPM"), ("f.jp2", "JPEG2000"), ("g.dib", "BMP"):
        (folder / name).write_bytes(picture(format))
    for name in "x.heic", "y.HEIC", "z.cr2", "list.txt":
        (folder / name).write_bytes(b"-")
    made = prepare_images("folder", folder, tmp_path / "out", 16)
    assert made.images == 7 and not made.skipped
    assert made.notes == ["images of formats that are not read are left out: 1 of .cr2, 2 of .heic"]
    for path in folder.iterdir():
        if path.suffix.lower() not in (".heic", ".cr2"):
            path.unlink()
    with pytest.raises(DataError, match=r"no images of folder\. images of formats that are not read .*2 of \.heic"):
        prepare_images("folder", folder, tmp_path / "other", 16)


# ------------------------------------------------------------------ walks


def test_links_are_followed_and_each_folder_is_read_once(folder, tmp_path):
    (folder / "self").symlink_to(".")
    (folder / "0").mkdir()
    (folder / "0" / "up").symlink_to("..")
    (folder / "0" / "c.png").write_bytes(picture())
    (folder / "00-link-to-0").symlink_to("0")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "d.png").write_bytes(picture())
    (folder / "linked").symlink_to(elsewhere)
    (folder / "broken.png").symlink_to("nowhere")
    expected = ["photos/0/c.png", "photos/a.png", "photos/b.png", "photos/linked/d.png"]
    assert open_files(folder).images == expected


def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch):
    closed = folder / "closed"
    closed.mkdir()
    iterdir = type(closed).iterdir

    def refusing(path):
        if path == closed:
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(type(closed), "iterdir", refusing)
    files = open_files(folder)
    assert len(files.images) == 2
    assert files.notes == [f"folders that cannot be read are left out: {closed}"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_and_devices_are_not_waited_for(folder, tmp_path):
    os.mkfifo(folder / "c.png")
    os.mkfifo(tmp_path / "pipe.zip")
    assert len(open_files(folder).images) == 2
    for path in tmp_path / "pipe.zip", "/dev/zero":
        with pytest.raises(DataError, match="neither a regular file nor a folder"):
            open_files(path)
    (folder / "a.png").unlink(), (folder / "b.png").unlink()
    os.mkfifo(folder / "d.zip")
    assert open_files(folder).images == []


def test_a_tilde_is_the_home_directory(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_files("~/photos").images == ["photos/a.png", "photos/b.png"]
    made = prepare_images("folder", "~/photos", "~/out", 16)
    assert made.path == tmp_path / "out" and (tmp_path / "out" / "index.json").exists()


# ------------------------------------------------------------------ hostile archives


def understated(path, method):
    """A zip archive whose member of 50 MB claims to have 1,000 bytes."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.png", b"\0" * 50_000_000)
    raw = bytearray(path.read_bytes())
    for signature, offset in (b"PK\x03\x04", 22), (b"PK\x01\x02", 24):
        struct.pack_into("<I", raw, raw.index(signature) + offset, 1000)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    "method, message",
    [(zipfile.ZIP_DEFLATED, "CRC"), (zipfile.ZIP_BZIP2, "neither stored nor deflated"), (zipfile.ZIP_LZMA, "neither")],
)
def test_a_member_that_is_larger_than_it_claims_is_cut_off(method, message, tmp_path):
    files = open_files(understated(tmp_path / "a.zip", method))
    tracemalloc.start()
    try:
        with pytest.raises((zipfile.BadZipFile, ValueError), match=message):
            files.read("a.png")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_members_that_claim_too_much_are_not_read(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"x")
    raw = bytearray(path.read_bytes())
    struct.pack_into("<I", raw, raw.index(b"PK\x01\x02") + 24, 2**31)
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="2,147,483,648 bytes are more than"):
        open_files(path).read("a.png")


def test_links_and_devices_in_a_tar_archive_are_left_out(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in ("a.png", tarfile.REGTYPE), ("b.png", tarfile.SYMTYPE), ("c.png", tarfile.FIFOTYPE):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    assert open_files(tmp_path / "a.tar").images == ["a.png"]


# ------------------------------------------------------------------ Hugging Face


@pytest.fixture
def write_rows(tmp_path, monkeypatch):
    """`write_rows(path, rows)`: a parquet file of images. A row is None or {"bytes": ..., "path": ...}."""
    datasets = pytest.importorskip("datasets")
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def write(path, rows):
        path.parent.mkdir(exist_ok=True)
        image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        table = pyarrow.table({"image": pyarrow.array(rows, image)})
        features = b'{"info": {"features": {"image": {"_type": "Image"}}}}'
        parquet.write_table(table.replace_schema_metadata({b"huggingface": features}), path)
        return path

    return write


def test_rows_without_an_image_are_left_out(write_rows, tmp_path):
    full = {"bytes": picture(), "path": None}
    path = write_rows(tmp_path / "faces" / "train.parquet", [full, None, full, {"bytes": None, "path": None}, full])
    files = open_files(f"hf:{path}")
    assert files.images == ["train-000000", "train-000002", "train-000004"]
    assert files.notes == [f"2 rows of hf:{path} have no image and are left out"]
    assert prepare_images("folder", f"hf:{path}", tmp_path / "out", 16).images == 3


def test_rows_name_files_in_the_directory_of_the_data_set_only(write_rows, tmp_path):
    home = tmp_path / "faces"
    home.mkdir()
    for path in home / "own.png", tmp_path / "private.png":
        path.write_bytes(picture())
    (home / "link.png").symlink_to(tmp_path / "private.png")
    places = [home / "own.png", tmp_path / "private.png", home / "link.png", home / ".." / "private.png"]
    path = write_rows(home / "train.parquet", [{"bytes": None, "path": str(place)} for place in places])
    files = open_files(f"hf:{home}")
    assert files.read("train-000000") == picture()
    for name in files.names[1:]:
        with pytest.raises(ValueError, match="outside the data set's directory"):
            files.read(name)
    alone = open_files(f"hf:{path}")  # a file has no directory of its own
    for name in alone.names:
        with pytest.raises(ValueError, match="outside the data set's directory"):
            alone.read(name)


def test_large_rows_are_not_read(write_rows, tmp_path, monkeypatch):
    from idgan.data import hugging_face

    home = tmp_path / "faces"
    home.mkdir()
    (home / "own.png").write_bytes(picture())
    rows = [{"bytes": picture(), "path": None}, {"bytes": None, "path": str(home / "own.png")}]
    write_rows(home / "train.parquet", rows)
    files = open_files(f"hf:{home}")
    monkeypatch.setattr(hugging_face, "MAX_FILE_BYTES", 100)
    for name in files.names:
        with pytest.raises((ValueError, OSError), match="bytes are more than 100"):
            files.read(name)


def test_a_name_is_asked_for():
    with pytest.raises(InvalidInputError, match="expected hf:org/name"):
        open_files("hf:")
