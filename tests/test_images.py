"""Images in and out: every kind gives the same pixels or one clear error."""

import gc
import io
import math
import os
import struct
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from idgan.errors import InvalidInputError, MissingDependencyError
from idgan.images import (
    as_batch,
    as_rgb,
    contact_sheet,
    default_batch_size,
    encoder_view,
    labeled_grid,
    psnr,
    save_animation,
    save_gif,
    save_image,
    save_mp4,
    save_png,
    side_by_side,
    to_pil,
    to_signed,
    to_uint8,
    to_unit,
)
from idgan.images.batch import decode

ORIENTATION = 0x0112


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def color_of(image, **options):
    """The color of a flat image after `as_batch`, from 0 to 255."""
    batch = as_batch(image, **{"channels": 3, "resolution": 8, **options})
    assert torch.allclose(batch, batch[:, :, :1, :1].expand_as(batch), atol=1e-6)
    return pytest.approx((batch[0, :, 0, 0] * 255).tolist(), abs=0.01)


# ------------------------------------------------------------------ ranges and the encoder's view


def test_ranges_are_inverse_affine_maps():
    x = torch.tensor([0.0, 0.25, 0.5, 1.0])
    assert to_signed(x).tolist() == [-1.0, -0.5, 0.0, 1.0]
    assert torch.equal(to_unit(to_signed(x)), x)
    assert to_unit(torch.tensor([3.0])).item() == 2.0  # no clamp


@pytest.mark.parametrize("size", [128, 256, 1024])
def test_encoder_view_is_the_block_mean(size):
    x = torch.rand(1, 3, size, size, dtype=torch.float64)
    factor = size // 64
    blocks = x.reshape(1, 3, 64, factor, 64, factor).mean(dim=(3, 5))
    assert torch.allclose(encoder_view(x), blocks, atol=1e-14)


def test_encoder_view_is_the_identity_at_its_resolution():
    x = torch.rand(2, 1, 64, 64)
    assert encoder_view(x) is x


@pytest.mark.parametrize("size", [65, 80, 100])
def test_area_average_of_any_factor_keeps_the_mean(size):
    x = torch.rand(2, 1, size, size, dtype=torch.float64)
    assert torch.allclose(encoder_view(x).mean(dim=(2, 3)), x.mean(dim=(2, 3)), atol=1e-12)
    # Enlarged by a whole factor to a common multiple, then block means: the same area average, computed in another way.
    finer = x.repeat_interleave(64, dim=2).repeat_interleave(64, dim=3)[:1]
    assert torch.allclose(encoder_view(x)[:1], F.avg_pool2d(finer, size), atol=1e-12)


@pytest.mark.parametrize("size", [1, 7, 32, 64, 65, 80, 128, 200])
def test_a_flat_image_stays_flat_at_any_size(size):
    assert torch.allclose(encoder_view(torch.full((1, 3, size, size), 0.3)), torch.tensor(0.3), atol=1e-6)


@pytest.mark.parametrize("size", [32, 64, 100, 256])
def test_gradient_flows_through_the_encoder_view(size):
    x = torch.rand(1, 1, size, size, requires_grad=True)
    encoder_view(x).sum().backward()
    assert (x.grad > 0).all()
    assert x.grad.sum().item() == pytest.approx(64 * 64, rel=1e-4)


@pytest.mark.parametrize(
    "x", [torch.rand(1, 3, 64, 32), torch.rand(3, 64, 64), torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "x"]
)
def test_encoder_view_refuses_what_is_not_a_square_float_batch(x):
    with pytest.raises(InvalidInputError, match="square float"):
        encoder_view(x)


# ------------------------------------------------------------------ one picture, many kinds


@pytest.mark.parametrize("size", [64, 100, 128, 30])
def test_file_pil_arrays_and_tensors_of_one_picture_agree_exactly(size, tmp_path):
    array = pixels(size, size, 3)
    path = tmp_path / "picture.png"
    Image.fromarray(array).save(path)
    chw = torch.from_numpy(array).movedim(-1, 0)
    kinds = [
        array,
        array[None],
        Image.fromarray(array),
        path,
        str(path),
        chw,
        chw[None],
        array.astype(np.float32) / 255,
        chw.float() / 255,
    ]
    kinds += [array[::-1][::-1], np.asfortranarray(array), array.transpose(2, 0, 1)]
    batches = as_batch(kinds, channels=3, resolution=64)
    assert batches.shape == (len(kinds), 3, 64, 64) and batches.dtype == torch.float32
    assert all(torch.equal(batch, batches[0]) for batch in batches)
    for kind, batch in zip(kinds, batches):
        assert torch.equal(as_batch(kind, channels=3, resolution=64)[0], batch)


def test_gray_pictures_agree_exactly():
    array = pixels(64, 64)
    tensor = torch.from_numpy(array)
    kinds = [
        array,
        array[..., None],
        array[None, ..., None],
        array[None],
        Image.fromarray(array),
        tensor,
        tensor[None],
        tensor[None, None],
    ]
    kinds += [np.repeat(array[..., None], 3, axis=-1), (array * np.uint16(257)), (array * np.uint16(257)).astype(">u2")]
    kinds += [tensor.to(torch.uint16) * 257, Image.fromarray(array).convert("F").point(lambda v: v / 255)]
    batches = as_batch(tuple(kinds), channels=1, resolution=64)
    for batch in batches:
        assert torch.allclose(batch, tensor[None] / 255, atol=1e-7)


def test_batches_keep_their_order_and_lists_may_mix_sizes():
    batch = torch.rand(4, 3, 64, 64)
    assert torch.equal(as_batch(batch, channels=3, resolution=64), batch)
    mixed = as_batch([Image.new("L", (9, 9), 255), batch, np.zeros((128, 128, 3), np.uint8)], channels=3, resolution=64)
    assert mixed.shape == (6, 3, 64, 64)
    assert torch.equal(mixed[1:5], batch) and (mixed[0] == 1).all() and (mixed[5] == 0).all()


def test_bool_is_black_and_white():
    mask = pixels(64, 64) > 127
    assert torch.equal(as_batch(mask, channels=1, resolution=64)[0, 0], torch.from_numpy(mask).float())
    assert torch.equal(
        as_batch(torch.from_numpy(mask), channels=1, resolution=64)[0, 0], torch.from_numpy(mask).float()
    )


def test_half_precision_and_rounding_beyond_the_range_are_accepted():
    x = torch.tensor([[0.0, 1.0], [1.0 + 1e-6, -1e-6]])
    assert as_batch(x, channels=1, resolution=2).tolist() == [[[[0, 1], [1, 0]]]]
    assert as_batch(x.clamp(0, 1).bfloat16(), channels=1, resolution=2).dtype == torch.float32


def test_gradient_reaches_a_tensor():
    x = torch.rand(2, 3, 128, 128, requires_grad=True)
    as_batch(x, channels=3, resolution=64).sum().backward()
    assert torch.allclose(x.grad, torch.full_like(x, 1 / 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_tensors_keep_their_device():
    assert as_batch(torch.rand(3, 64, 64, device="cuda"), channels=1, resolution=64).is_cuda


def test_inputs_are_left_alone():
    array = pixels(64, 64, 3)
    image, tensor, before = Image.fromarray(array), torch.from_numpy(array.copy()), array.copy()
    as_batch([array, image, tensor], channels=3, resolution=64).zero_()
    assert (array == before).all() and (np.asarray(image) == before).all() and (tensor.numpy() == before).all()
    unit = torch.rand(1, 3, 64, 64)
    as_batch(unit, channels=3, resolution=64).zero_()
    assert unit.mean() > 0.1


# ------------------------------------------------------------------ layout


def test_the_usual_channel_axis_wins():
    assert as_batch(np.zeros((3, 3, 3), np.uint8), channels=3, resolution=3).shape == (1, 3, 3, 3)
    array = np.zeros((3, 3, 3), np.float32)
    array[..., 0] = 1  # red, channel-last
    assert (as_batch(array, channels=3, resolution=3)[0, 0] == 1).all()
    assert (as_batch(torch.from_numpy(array).movedim(-1, 0), channels=3, resolution=3)[0, 0] == 1).all()


def test_the_other_order_is_taken_where_nothing_else_fits():
    array = pixels(2, 64, 64, 3)
    expected = as_batch(array, channels=3, resolution=64)
    assert torch.equal(as_batch(array.transpose(0, 3, 1, 2), channels=3, resolution=64), expected)
    assert torch.equal(as_batch(torch.from_numpy(array), channels=3, resolution=64), expected)


@pytest.mark.parametrize("height, width", [(h, w) for h in range(1, 6) for w in range(1, 6)])
def test_two_axes_are_always_height_and_width(height, width):
    array = pixels(height, width)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    for kind in array, torch.from_numpy(array), Image.fromarray(array):
        batch = as_batch(kind, channels=1, resolution=side, crop=True)
        assert (to_uint8(batch)[0, ..., 0] == array[top : top + side, left : left + side]).all()


@pytest.mark.parametrize(
    "shape", [(), (64,), (10, 64, 64), (64, 64, 2), (1, 1, 3, 64, 64), (2, 5, 64, 64), (0, 64, 64, 3), (64, 0)]
)
@pytest.mark.parametrize("kind", [np.zeros, torch.zeros])
def test_other_layouts_are_refused_with_their_shape(shape, kind):
    with pytest.raises(InvalidInputError) as error:
        as_batch(kind(shape), channels=1, resolution=64)
    assert str(shape) in str(error.value) and "float" in str(error.value)


def test_a_stack_of_gray_images_is_told_what_it_lacks():
    with pytest.raises(InvalidInputError, match=r"x\[:, None\]"):
        as_batch(np.zeros((10, 64, 64), np.uint16), channels=1, resolution=64)


@pytest.mark.parametrize("bad", [3, None, b"abc", {}, object(), 0.5, [1.0, 2.0], [[0, 1]], np.float32(1)])
def test_other_objects_are_refused(bad):
    with pytest.raises(InvalidInputError, match="expected a PIL image"):
        as_batch(bad, channels=1, resolution=64)


def test_an_empty_list_is_refused():
    with pytest.raises(InvalidInputError, match="at least one"):
        as_batch([], channels=1, resolution=64)


@pytest.mark.parametrize(
    "options", [{"channels": 2}, {"resolution": 0}, {"resolution": 64.0}, {"background": "no color"}]
)
def test_options_are_checked(options):
    with pytest.raises(InvalidInputError):
        as_batch(np.zeros((4, 4)), **{"channels": 1, "resolution": 4, **options})


# ------------------------------------------------------------------ values


@pytest.mark.parametrize(
    "low, high, hint",
    [
        (-1, 1, r"\(x \+ 1\) / 2"),
        (0, 255, "x / 255"),
        (-3, 300, r"values from -3 to 300"),
        (0, float("nan"), "nan"),
        (0, float("inf"), "inf"),
        (0, 1.01, "1.01"),
    ],
)
@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_floats_outside_the_range_are_refused_with_a_hint(low, high, hint, kind):
    with pytest.raises(InvalidInputError, match=hint) as error:
        as_batch(kind([[low, high], [0.0, 0.5]]), channels=1, resolution=2)
    assert "[0, 1]" in str(error.value) and "(2, 2)" in str(error.value) and "float" in str(error.value)


@pytest.mark.parametrize(
    "dtype", ["int8", "int32", "int64", "uint32", "uint64", "complex64", "object", "U1", "datetime64[s]"]
)
def test_other_array_types_are_refused_by_name(dtype):
    with pytest.raises(InvalidInputError, match="bool, uint8"):
        as_batch(np.zeros((4, 4), dtype), channels=1, resolution=4)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.complex64])
def test_other_tensor_types_are_refused_by_name(dtype):
    with pytest.raises(InvalidInputError, match=str(dtype).removeprefix("torch.")):
        as_batch(torch.zeros(4, 4, dtype=dtype), channels=1, resolution=4)


# ------------------------------------------------------------------ color


def test_luma_is_rec_601_as_in_pillow():
    image = Image.fromarray(pixels(64, 64, 3))
    ours = as_batch(image, channels=1, resolution=64)
    theirs = as_batch(image.convert("L"), channels=1, resolution=64)
    assert (ours - theirs).abs().max() < 0.51 / 255
    primaries = torch.eye(3)[:, :, None, None]
    assert as_batch(primaries, channels=1, resolution=1).flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])


def test_gray_survives_the_way_through_color_exactly():
    gray = torch.rand(2, 1, 64, 64)
    color = as_batch(gray, channels=3, resolution=64)
    assert torch.equal(color, gray.expand(-1, 3, -1, -1))
    assert torch.equal(as_batch(color, channels=1, resolution=64), gray)


@pytest.mark.parametrize(
    "background, expected", [("white", 1), ("black", 0), ("#ff0000", (1, 0, 0)), ((0.2, 0.4, 0.6), (0.2, 0.4, 0.6))]
)
def test_alpha_is_laid_over_the_background(background, expected):
    array = np.zeros((6, 6, 4), np.uint8)
    array[..., 1], array[..., 3] = 255, 51  # green, one fifth opaque
    expected = 0.8 * torch.tensor(expected).expand(3) + 0.2 * torch.tensor([0.0, 1.0, 0.0])
    for kind in array, Image.fromarray(array), torch.from_numpy(array).movedim(-1, 0), torch.from_numpy(array / 255.0):
        batch = as_batch(kind, channels=3, resolution=6, background=background)
        assert torch.allclose(batch, expected[None, :, None, None].expand_as(batch), atol=1e-6)


@pytest.mark.parametrize("background", [(255, 255, 255), (1, 1), "nope", 1, None, (0, 0, float("nan"))])
def test_backgrounds_are_checked(background):
    with pytest.raises(InvalidInputError, match="background"):
        as_batch(np.zeros((4, 4, 4), np.uint8), channels=3, resolution=4, background=background)


def test_hidden_color_does_not_bleed_into_a_resized_edge():
    array = np.zeros((128, 128, 4), np.uint8)
    array[:, :63] = (255, 0, 0, 0)  # invisible red
    array[:, 63:] = (255, 255, 255, 255)
    assert (as_batch(array, channels=3, resolution=64) == 1).all()


# ------------------------------------------------------------------ Pillow's modes and files

FLAT = {
    "1": (1, (255, 255, 255)),
    "L": (40, (40, 40, 40)),
    "LA": ((40, 255), (40, 40, 40)),
    "RGB": ((10, 20, 30), (10, 20, 30)),
    "RGBA": ((10, 20, 30, 255), (10, 20, 30)),
    "RGBX": ((10, 20, 30, 0), (10, 20, 30)),
    "RGBa": ((0, 0, 0, 0), (255, 255, 255)),
    "CMYK": ((255, 0, 0, 0), (0, 255, 255)),
    "YCbCr": ((200, 128, 128), (200, 200, 200)),
    "HSV": ((0, 255, 255), (255, 0, 0)),
    "F": (0.2, (51, 51, 51)),
    "I": (51 * 257, (51, 51, 51)),
    "I;16": (51 * 257, (51, 51, 51)),
    "I;16B": (51 * 257, (51, 51, 51)),
    "I;16L": (51 * 257, (51, 51, 51)),
}


@pytest.mark.parametrize("mode", FLAT)
def test_every_mode(mode):
    value, expected = FLAT[mode]
    assert list(expected) == color_of(Image.new(mode, (8, 8), value))


def test_half_transparent_gray():
    assert [0.5 * 255 + 20] * 3 == pytest.approx(color_of(Image.new("LA", (8, 8), (40, 128))).expected, abs=1)


def test_a_mode_pillow_cannot_convert_is_an_error():
    with pytest.raises(InvalidInputError, match="La"):
        as_batch(Image.new("La", (8, 8)), channels=3, resolution=8)


@pytest.mark.parametrize("value", [0, 200, -1, 70000])
def test_mode_i_without_sixteen_bit_values_is_not_guessed(value):
    with pytest.raises(InvalidInputError, match="mode I.*16 bits"):
        as_batch(Image.new("I", (8, 8), value), channels=1, resolution=8)


def test_palette_with_and_without_transparency(tmp_path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    assert [10, 20, 30] == color_of(image)
    for transparency, expected in (1, [0, 0, 255]), (0, [10, 20, 30]), (bytes([255, 0]), [0, 0, 255]):
        image.save(tmp_path / "palette.png", transparency=transparency)
        assert expected == color_of(tmp_path / "palette.png", background="blue")
    image.save(tmp_path / "palette.gif")
    assert [10, 20, 30] == color_of(tmp_path / "palette.gif")


@pytest.mark.parametrize(
    "mode, value, key", [("L", 40, 40), ("RGB", (1, 2, 3), (1, 2, 3)), ("1", 1, 255), ("I;16", 4000, 4000)]
)
def test_a_transparent_key_color_in_a_png(mode, value, key, tmp_path):
    Image.new(mode, (8, 8), value).save(tmp_path / "key.png", transparency=key)
    assert [0, 0, 255] == color_of(tmp_path / "key.png", background="blue")


def test_sixteen_bit_files(tmp_path):
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040
    for name in "sixteen.png", "sixteen.tif":
        Image.fromarray(values).save(tmp_path / name)
        batch = as_batch(tmp_path / name, channels=1, resolution=8)
        assert torch.allclose(batch[0, 0], torch.from_numpy(values.astype(np.float32) / 65535))


def test_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=100)
    red, green, blue = color_of(tmp_path / "cmyk.jpg").expected
    assert red > 250 and green < 5 and blue < 5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_gives_the_upright_picture(orientation, tmp_path):
    upright = np.zeros((32, 32, 3), np.uint8)
    upright[:16, :16], upright[:16, 16:], upright[16:, :16] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    turns = {
        2: "FLIP_LEFT_RIGHT",
        3: "ROTATE_180",
        4: "FLIP_TOP_BOTTOM",
        5: "TRANSPOSE",
        6: "ROTATE_90",
        7: "TRANSVERSE",
        8: "ROTATE_270",
    }
    image = Image.fromarray(upright)
    stored = image.transpose(Image.Transpose[turns[orientation]]) if orientation > 1 else image
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored.save(tmp_path / "photo.jpg", exif=exif, quality=100, subsampling=0)
    expected = as_batch(upright, channels=3, resolution=2)
    for kind in tmp_path / "photo.jpg", Image.open(tmp_path / "photo.jpg"):
        assert torch.allclose(as_batch(kind, channels=3, resolution=2), expected, atol=0.02)


def test_an_animation_gives_its_first_frame(tmp_path):
    first, second = Image.new("L", (8, 8), 10), Image.new("L", (8, 8), 200)
    first.save(tmp_path / "two.gif", save_all=True, append_images=[second])
    assert [10, 10, 10] == color_of(tmp_path / "two.gif")


def test_missing_files_folders_and_texts_are_named(tmp_path):
    (tmp_path / "page.png").write_text("<html>not found</html>")
    (tmp_path / "empty.png").touch()
    for path in tmp_path / "nothing.png", tmp_path, tmp_path / "page.png", tmp_path / "empty.png":
        with pytest.raises(InvalidInputError) as error:
            as_batch(path, channels=3, resolution=8)
        assert f"cannot read the image {path}" in str(error.value)
    with pytest.raises(InvalidInputError):
        as_batch("null\0byte.png", channels=3, resolution=8)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp"])
def test_cut_files_are_refused(suffix, tmp_path):
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(pixels(64, 64, 3)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for kind in (path, str(path)):
        with pytest.raises(InvalidInputError, match="cannot read"):
            as_batch(kind, channels=3, resolution=8)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_files_never_escape_as_other_errors(tmp_path):
    random = np.random.default_rng(0)
    for suffix in "png", "jpg", "gif", "tif":
        Image.fromarray(pixels(16, 16, 3)).save(tmp_path / f"good.{suffix}")
        good = np.frombuffer((tmp_path / f"good.{suffix}").read_bytes(), np.uint8)
        for _ in range(40):
            damaged = good.copy()
            damaged[random.integers(0, len(good), 5)] = random.integers(0, 256, 5)
            (tmp_path / "bad").write_bytes(damaged.tobytes())
            try:
                batch = as_batch(tmp_path / "bad", channels=3, resolution=8, crop=True)
            except InvalidInputError:
                continue
            assert batch.shape == (1, 3, 8, 8) and 0 <= batch.min() and batch.max() <= 1


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    "side", [11, 40]
)  # Pillow warns above its limit and raises above twice the limit: both are errors here
def test_decompression_bombs_are_refused(side, tmp_path, monkeypatch):
    Image.new("L", (side, side)).save(tmp_path / "bomb.png")
    unread = Image.open(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for kind in tmp_path / "bomb.png", unread, Image.new("L", (side, side)):
        with pytest.raises(InvalidInputError, match="pixels"):
            as_batch(kind, channels=1, resolution=8)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert as_batch(tmp_path / "bomb.png", channels=1, resolution=8).shape == (1, 1, 8, 8)


# ------------------------------------------------------------------ metadata, formats, limits


def png_chunks(content):
    """A PNG file as a list of [kind, data]."""
    found, position = [], 8
    while position < len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        found.append([kind, content[position + 8 : position + 8 + length]])
        position += length + 12
    return found


def png_file(chunks, damaged=()):
    """The PNG file of `chunks`, with wrong checksums in those of the kinds `damaged`."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in chunks:
        checksum = zlib.crc32(kind + data) ^ (kind in damaged)
        parts.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum))
    return b"".join(parts)


DAMAGED_EXIF = b"\0\x08\0\x02\x01\x12\0\x03", b"Exif\0\0MM\0*\0\0\0\x08\0\x09", b"II*\0", b"Exif\0\0" + b"\xff" * 40


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("exif", DAMAGED_EXIF)
@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
def test_damaged_exif_does_not_keep_from_the_pixels(suffix, exif, tmp_path):
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (8, 8), (40, 40, 40)).save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    assert [40, 40, 40] == color_of(path)
    with Image.open(path) as image:
        assert [40, 40, 40] == color_of(image)
    assert as_rgb(path.read_bytes()).getpixel((0, 0)) == (40, 40, 40)


def test_damaged_metadata_of_a_png_does_not_keep_from_the_pixels(tmp_path):
    good = io.BytesIO()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(good, "PNG")
    chunks = png_chunks(good.getvalue())
    bomb = zlib.compress(b"x" * 70_000_000)
    for kind, data in (b"tEXt", b"key\0text"), (b"zTXt", b"key\0\0" + bomb), (b"iCCP", b"a\0\0junk"), (b"pHYs", b"1"):
        for damaged in (), (kind,):
            (tmp_path / "a.png").write_bytes(png_file([chunks[0], [kind, data], *chunks[1:]], damaged))
            assert [1, 2, 3] == color_of(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(png_file(chunks, damaged=(b"IHDR",)))
    with pytest.raises(InvalidInputError, match="cannot read the image"):
        as_batch(tmp_path / "a.png", channels=3, resolution=8)


def test_the_transparent_color_of_a_16_bit_png():
    """Pillow reads the high bytes of 16-bit RGB."""
    rows = b"".join(b"\0" + struct.pack(">6H", 40_000, 0, 65_535, 300, 300, 300) for _ in range(2))
    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    key = struct.pack(">3H", 40_000, 0, 65_535)
    content = png_file(
        [[b"IHDR", header], [b"tRNS", key], [b"IDAT", zlib.compress(rows)], [b"IEND", b""]],
    )
    assert np.asarray(as_rgb(content))[0].tolist() == [[255, 255, 255], [1, 1, 1]]


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_transparent_color_of_a_png_of_few_bits(depth):
    white = 2**depth - 1
    row = bytes([0, white << (8 - depth)])  # one white pixel, the others black
    header = struct.pack(">IIBBBBB", 2, 1, depth, 0, 0, 0, 0)
    chunks = [[b"IHDR", header], [b"tRNS", struct.pack(">H", white)], [b"IDAT", zlib.compress(row)], [b"IEND", b""]]
    image = Image.open(io.BytesIO(png_file(chunks)))
    assert image.mode in ("1", "L")
    x = decode_file(png_file(chunks), background="blue")
    assert x.tolist() == [[[0.0, 0.0]], [[0.0, 0.0]], [[1.0, 0.0]]]


def decode_file(content, background):
    """The content of an image file as (3, H, W)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        path.write_bytes(content)
        return decode(path, 3, background)[0]


@pytest.mark.parametrize(
    "mode, value, expected",
    [
        ("F", 0.2, 51), ("I;16", 51 * 257, 51), ("I", 51 * 257, 51), ("L", 51, 51), ("1", 1, 255),
        ("LA", (51, 255), 51), ("CMYK", (0, 0, 0, 204), 51), ("RGBA", (0, 0, 0, 204), 51),
    ],
)  # fmt: skip
def test_tiff_files_of_every_mode_are_read_alike(mode, value, expected, tmp_path):
    Image.new(mode, (8, 8), value).save(tmp_path / "a.tif")
    assert [expected] * 3 == color_of(tmp_path / "a.tif")
    assert as_rgb((tmp_path / "a.tif").read_bytes()).getpixel((0, 0)) == (expected,) * 3


def test_a_dark_pgm_file_of_16_bits(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 2 2 65535\n" + struct.pack(">4H", 0, 100, 200, 255))
    x = as_batch(tmp_path / "a.pgm", channels=1, resolution=2)
    assert (x.flatten() * 65535).tolist() == pytest.approx([0, 100, 200, 255])


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("name", ["x.png", "x.eps"])
def test_postscript_starts_no_program(name, tmp_path, monkeypatch):
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\nexit 1\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / name).write_bytes(POSTSCRIPT)
    with pytest.raises(InvalidInputError, match="not an image in one of the formats PNG, JPEG"):
        as_batch(tmp_path / name, channels=3, resolution=64)
    with pytest.raises(InvalidInputError, match="not an image"):
        as_rgb(POSTSCRIPT)
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_max_pixels_raises_the_limit_for_one_call(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = tmp_path / "large.png"
    Image.new("RGB", (40, 40), (1, 2, 3)).save(path)
    assert [1, 2, 3] == color_of(path, max_pixels=np.int64(1600))
    for limit in 1599, 100:
        with pytest.raises(InvalidInputError, match=r"large.png: .*limit of .* pixels. Raise max_pixels"):
            as_batch(path, channels=3, resolution=8, max_pixels=limit)
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(InvalidInputError, match="max_pixels"):
        as_batch(path, channels=3, resolution=8, max_pixels=0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InvalidInputError, match="pipe.png.*not a regular file"):
        as_batch(tmp_path / "pipe.png", channels=3, resolution=8)


def test_every_error_about_a_file_names_it(tmp_path):
    Image.new("RGB", (8, 9)).save(tmp_path / "long.png")
    Image.new("F", (8, 8), 300).save(tmp_path / "bright.tif")
    good = Image.new("RGB", (8, 8))
    for name, text in ("long.png", "not square"), ("bright.tif", "must lie in"):
        with pytest.raises(InvalidInputError, match=f"{name}: .*{text}"):
            as_batch([good, tmp_path / name], channels=3, resolution=8)
    with pytest.raises(InvalidInputError, match=r"long.png: crop=9 is larger"):
        as_batch(tmp_path / "long.png", channels=3, resolution=8, crop=9)
    with pytest.raises(InvalidInputError, match=r"bright.tif: "):
        save_png(tmp_path / "bright.tif", tmp_path / "out.png")


def test_a_tilde_is_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert save_png(Image.new("RGB", (8, 8), (1, 2, 3)), "~/new/a.png") == tmp_path / "new" / "a.png"
    assert [1, 2, 3] == color_of("~/new/a.png")


def test_numpy_integers_are_integers():
    array = pixels(218, 178, 3)
    expected = as_batch(array, channels=3, resolution=64, crop=160)
    assert torch.equal(as_batch(array, channels=3, resolution=np.int32(64), crop=np.int64(160)), expected)
    whole = as_batch(array, channels=3, resolution=64, crop=True)
    assert torch.equal(as_batch(array, channels=np.int64(3), resolution=64, crop=np.bool_(True)), whole)
    assert contact_sheet(torch.rand(2, 3, 4, 4), np.int64(2), np.int64(0), scale=np.int64(2)).shape == (3, 8, 16)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "kind, make",
    [
        ("sparse", lambda: torch.rand(1, 8, 8).to_sparse()),
        ("sparse", lambda: torch.rand(8, 8).to_sparse_csr()),
        ("meta", lambda: torch.rand(1, 8, 8, device="meta")),
        ("nested", lambda: torch.nested.nested_tensor([torch.rand(8, 8), torch.rand(4, 4)])),
        ("nested", lambda: torch.nested.nested_tensor([torch.rand(8, 8)], layout=torch.jagged)),
        ("quantized", lambda: torch.quantize_per_tensor(torch.rand(1, 8, 8), 0.1, 0, torch.quint8)),
    ],
)
def test_tensors_without_plain_values_are_refused(kind, make):
    with pytest.raises(InvalidInputError, match=f"dense tensor with values, got a {kind} tensor"):
        as_batch(make(), channels=1, resolution=8)
    with pytest.raises(InvalidInputError):
        to_pil(make())


def test_a_float64_default_changes_nothing():
    array = pixels(80, 80, 4)
    expected = as_batch(array, channels=1, resolution=64)
    torch.set_default_dtype(torch.float64)
    try:
        x = as_batch(array, channels=1, resolution=64)
        sheet = contact_sheet(x)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(x, expected) and sheet.dtype == torch.float32


def test_files_are_closed_again(tmp_path):
    Image.new("L", (8, 8), 10).save(tmp_path / "two.gif", save_all=True, append_images=[Image.new("L", (8, 8), 99)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        as_batch(tmp_path / "two.gif", channels=1, resolution=8)
        gc.collect()
    assert not [warning for warning in caught if warning.category is ResourceWarning]


# ------------------------------------------------------------------ size


def test_one_pixel_becomes_a_flat_image():
    assert [10, 20, 30] == color_of(Image.new("RGB", (1, 1), (10, 20, 30)), resolution=64)


def test_a_crop_of_a_number_is_the_square_of_that_side():
    array = np.random.default_rng(0).random((218, 178, 3), dtype=np.float32)  # CelebA's own size
    expected = torch.from_numpy(array[29:189, 9:169]).movedim(-1, 0)[None]
    assert torch.equal(as_batch(array, channels=3, resolution=160, crop=160), expected)
    square = array[:100, :100]
    assert torch.equal(
        as_batch(square, channels=3, resolution=50, crop=50),
        torch.from_numpy(square[25:75, 25:75]).movedim(-1, 0)[None],
    )
    for crop, message in (
        (179, "crop=179 is larger than the image, which is 178 wide and 218 high"),
        (0, "crop must be"),
        ("a", "crop must be"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            as_batch(array, channels=3, resolution=64, crop=crop)


def test_psnr_is_in_decibels_of_the_full_scale():
    x = torch.full((3, 1, 4, 4), 0.5)
    y = x.clone()
    y[0] += 0.1
    y[1, :, :2] -= 0.1
    scores = psnr(x, y)
    assert scores[:2].tolist() == pytest.approx([20.0, 20 + 10 * math.log10(2)], abs=1e-4)
    assert scores[2] == math.inf
    with pytest.raises(InvalidInputError, match="same shape"):
        psnr(x, y[:1])


def test_images_that_are_not_square_need_crop():
    array = pixels(64, 100, 3)
    with pytest.raises(InvalidInputError, match="100 wide and 64 high.*crop=True"):
        as_batch(array, channels=3, resolution=64)
    expected = as_batch(array[:, 18:82], channels=3, resolution=64)
    assert torch.equal(as_batch(array, channels=3, resolution=64, crop=True), expected)
    tall = as_batch(array.transpose(1, 0, 2), channels=3, resolution=64, crop=True)
    assert torch.equal(tall, expected.mT)


def test_a_very_long_image():
    image = Image.new("RGB", (20000, 10), (10, 20, 30))
    with pytest.raises(InvalidInputError, match="20000 wide and 10 high"):
        as_batch(image, channels=3, resolution=64)
    assert [10, 20, 30] == color_of(image, resolution=64, crop=True)


def test_reducing_averages_and_enlarging_interpolates():
    board = np.indices((128, 128)).sum(axis=0) % 2 * np.uint8(255)
    assert torch.allclose(as_batch(board.astype(np.uint8), channels=1, resolution=64), torch.tensor(0.5))
    edge = torch.zeros(32, 32)
    edge[:, 16:] = 1
    assert as_batch(edge, channels=1, resolution=64)[0, 0, 0, 30:34].tolist() == [0, 0.25, 0.75, 1]


def test_a_real_photo(shared):
    photo = shared("data/scream/The_Scream.jpg")
    batch = as_batch(photo, channels=3, resolution=64, crop=True)
    array = np.asarray(Image.open(photo).convert("RGB"))
    side = min(array.shape[:2])
    top, left = (array.shape[0] - side) // 2, (array.shape[1] - side) // 2
    mean = array[top : top + side, left : left + side].mean(axis=(0, 1)) / 255
    assert batch.mean(dim=(0, 2, 3)).tolist() == pytest.approx(mean.tolist(), abs=1e-5)


# ------------------------------------------------------------------ whatever comes

DTYPES = [
    np.bool_,
    np.uint8,
    np.uint16,
    np.int16,
    np.int64,
    np.float16,
    np.float32,
    np.float64,
    np.complex64,
    np.dtype(">u2"),
    np.dtype(">f4"),
]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6)


@settings(max_examples=80, deadline=None)
@given(
    hnp.arrays(st.sampled_from(DTYPES), SHAPES),
    st.sampled_from([1, 3]),
    st.integers(1, 9),
    st.booleans(),
    st.booleans(),
)
def test_any_array_or_tensor_gives_images_or_our_error(array, channels, resolution, crop, as_tensor):
    if as_tensor and array.dtype.isnative:
        array = torch.from_numpy(array)
    try:
        batch = as_batch(array, channels=channels, resolution=resolution, crop=crop)
    except InvalidInputError:
        return
    assert batch.shape[1:] == (channels, resolution, resolution) and len(batch) >= 1 and batch.dtype == torch.float32
    assert 0 <= batch.min() and batch.max() <= 1


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(sorted(FLAT)), st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3]), st.integers(1, 9)
)
def test_any_pil_image_gives_images_or_our_error(mode, width, height, channels, resolution):
    try:
        batch = as_batch(Image.new(mode, (width, height), FLAT[mode][0]), channels=channels, resolution=resolution)
    except InvalidInputError:
        assert width != height
        return
    assert batch.shape == (1, channels, resolution, resolution) and 0 <= batch.min() and batch.max() <= 1


# ------------------------------------------------------------------ out


def test_all_256_levels_survive_the_round_trip():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    back = to_uint8(levels.float() / 255)
    assert back.shape == (1, 16, 16, 1) and back.dtype == np.uint8
    assert (back.flatten() == np.arange(256)).all()
    assert (to_uint8(to_unit(to_signed(levels.float() / 255))).flatten() == np.arange(256)).all()


def test_to_uint8_rounds_to_the_nearest_level():
    assert to_uint8(torch.tensor([[[0.49, 0.51, 254.49, 254.51]]]) / 255).flatten().tolist() == [0, 1, 254, 255]


def test_to_pil_and_back():
    color, gray = torch.rand(3, 3, 64, 64), torch.rand(1, 64, 64)
    images = to_pil(color)
    assert [(image.mode, image.size) for image in images] == [("RGB", (64, 64))] * 3
    assert (as_batch(images, channels=3, resolution=64) - color).abs().max() <= 0.5001 / 255
    assert to_pil(gray)[0].mode == "L"
    assert to_pil(torch.rand(3, 1, 1, requires_grad=True))[0].size == (1, 1)
    assert to_pil(torch.rand(2, 1, 5, 3))[0].size == (3, 5)


@pytest.mark.parametrize("write", [to_uint8, to_pil, contact_sheet])
def test_writers_refuse_other_shapes_and_ranges(write):
    for bad in torch.rand(2, 2, 8, 8), torch.rand(8, 8), torch.rand(0, 3, 8, 8), np.zeros((3, 8, 8)), "x":
        with pytest.raises(InvalidInputError, match="expected a tensor"):
            write(bad)
    with pytest.raises(InvalidInputError, match=r"\(x \+ 1\) / 2"):
        write(torch.tensor([[[-1.0, 1.0]]]))
    with pytest.raises(InvalidInputError, match="nan"):
        write(torch.full((3, 4, 4), torch.nan))


def test_grid_geometry():
    x = torch.rand(5, 3, 4, 6)
    sheet = contact_sheet(x, columns=3, padding=2, background="black", scale=2)
    assert sheet.shape == (3, 2 * (8 + 2) + 2, 3 * (12 + 2) + 2)
    for index in range(5):
        top, left = 2 + 10 * (index // 3), 2 + 14 * (index % 3)
        cell = sheet[:, top : top + 8, left : left + 12]
        assert torch.equal(cell[:, ::2, ::2], x[index]) and torch.equal(cell[:, 1::2, 1::2], x[index])
    assert sheet.sum().item() == pytest.approx(4 * x.sum().item(), rel=1e-5)  # the rest is background


def test_grid_defaults():
    assert contact_sheet(torch.rand(9, 1, 8, 8), padding=0).shape == (1, 24, 24)
    assert not contact_sheet(torch.rand(9, 1, 8, 8, requires_grad=True)).requires_grad
    assert contact_sheet(torch.rand(2, 1, 8, 8), columns=10, padding=0).shape == (1, 8, 16)
    assert torch.equal(contact_sheet(torch.rand(1, 3, 8, 8))[:, 0, 0], torch.ones(3))
    assert contact_sheet(torch.zeros(1, 3, 8, 8), background=(0.2, 0.4, 0.6))[:, 0, 0].tolist() == pytest.approx(
        [0.2, 0.4, 0.6]
    )
    assert contact_sheet(torch.zeros(1, 1, 8, 8), background="red")[0, 0, 0].item() == pytest.approx(0.299)


@pytest.mark.parametrize(
    "options", [{"columns": 0}, {"columns": 1.5}, {"padding": -1}, {"scale": 0}, {"background": "nope"}]
)
def test_grid_options_are_checked(options):
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        contact_sheet(torch.rand(2, 3, 4, 4), **options)


def test_side_by_side_shows_every_panel_below_its_caption():
    panels = [torch.rand(3, 40, 50), Image.new("L", (30, 60), 7), pixels(20, 20, 3)]
    expected = [to_uint8(panels[0])[0], np.full((60, 30, 3), 7, np.uint8), panels[2]]
    sheet = np.asarray(side_by_side(panels, ["x", "", "a caption wider than its panel"]))
    top = sheet.shape[0] - 60 - 8
    for panel, left in zip(expected, (8, 66, 104)):
        height, width = panel.shape[:2]
        assert (sheet[top : top + height, left : left + width] == panel).all()
    inked = (sheet[:top] < 128).any(axis=(0, 2))
    assert inked[8:58].any() and not inked[58:104].any() and inked[124:].any()
    assert (sheet[:, -8:] == 255).all() and (sheet[top - 2 : top] == 255).all()
    assert side_by_side(panels).size == (8 + 50 + 8 + 30 + 8 + 20 + 8, sheet.shape[0])


def test_side_by_side_is_checked():
    for panels, captions in ([], None), ([torch.rand(3, 4, 4)], ["a", "b"]):
        with pytest.raises(InvalidInputError, match="caption"):
            side_by_side(panels, captions)
    with pytest.raises(InvalidInputError, match=r"contact_sheet\(x\)"):
        side_by_side([torch.rand(2, 3, 4, 4)])


def test_png_is_written_whole_and_read_back_equal(tmp_path):
    path = tmp_path / "new" / "folder" / "sheet.PNG"
    for x in torch.rand(3, 64, 64), torch.rand(1, 1, 64, 64):
        assert save_png(x, path) == path
        assert (np.asarray(Image.open(path)) == to_uint8(x)[0].squeeze()).all()
        assert [file.name for file in path.parent.iterdir()] == ["sheet.PNG"]
    image = Image.fromarray(pixels(5, 7, 3))
    assert Image.open(save_png(image, str(path))).tobytes() == image.tobytes()
    save_png(Image.new("CMYK", (4, 4)), path)
    assert [255, 255, 255] == color_of(path)


@pytest.mark.parametrize("channels", [1, 3])
def test_gif_is_written_whole_and_read_back_equal(channels, tmp_path):
    frames = torch.from_numpy(pixels(4, channels, 8, 8)) / 255  # 64 colors a frame: nothing is lost
    path = save_gif(frames, tmp_path / "new" / "walk.gif", fps=15)
    with Image.open(path) as gif:
        assert gif.n_frames == 4 and gif.info["loop"] == 0
        for index, expected in enumerate(to_uint8(frames)):
            gif.seek(index)
            assert gif.info["duration"] == 70
            assert (np.asarray(gif.convert("RGB")) == expected).all()
    assert len(list(path.parent.iterdir())) == 1
    assert Image.open(save_gif(to_pil(frames)[:1], path)).size == (8, 8)


@pytest.mark.parametrize(("suffix", "format"), [("jpg", "JPEG"), ("JPEG", "JPEG"), ("webp", "WEBP"), ("png", "PNG")])
def test_pictures_are_written_in_the_format_of_their_suffix(suffix, format, tmp_path):
    x = torch.linspace(0, 1, 64).expand(3, 64, 64)
    path = save_image(x, tmp_path / f"x.{suffix}")
    with Image.open(path) as picture:
        assert picture.format == format
        error = np.abs(np.asarray(picture.convert("RGB")).astype(int) - to_uint8(x)[0])
    assert error.max() <= (8 if format == "JPEG" else 0)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
def test_mp4_is_written_whole_and_read_back_close(size, tmp_path):
    av = pytest.importorskip("av", reason="PyAV (the extra video) is not installed")
    width, height = size
    frames = [torch.full((3, height, width), value) for value in (0.0, 0.3, 0.9)]
    path = save_animation(frames, tmp_path / "new" / "walk.mp4", fps=12.5)
    with av.open(str(path)) as video:
        assert video.streams.video[0].average_rate == 12.5
        found = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(found) == 3
    for frame, expected in zip(found, to_uint8(torch.stack(frames))):
        assert frame.shape == (48, 32 if width == 32 else 34, 3)
        inner = frame[: height - 2, : width - 2].astype(int)
        assert np.abs(inner - expected[: height - 2, : width - 2]).max() <= 4
    assert [file.name for file in path.parent.iterdir()] == ["walk.mp4"]


def test_without_pyav_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"\.mp4 needs PyAV.*extra .video. of idgan"):
        save_mp4([torch.rand(3, 8, 8)], tmp_path / "x.mp4")
    assert not any(tmp_path.iterdir())


def test_a_labeled_grid_has_texts_around_and_below_its_images():
    x = torch.rand(4, 1, 40, 40)
    plain = labeled_grid(x, 2)
    assert plain.mode == "L" and np.array_equal(np.asarray(plain), to_uint8(contact_sheet(x, 2))[0, ..., 0])
    labeled = labeled_grid(x, 2, row_labels=["row 1", "row 2"], column_labels=["left", "right"], text_size=14)
    left, top = (a - b for a, b in zip(labeled.size, plain.size))
    assert left > 20 and top > 14
    assert np.array_equal(np.asarray(labeled.crop((left, top, *labeled.size))), np.asarray(plain))
    dark = np.asarray(labeled) < 128
    assert all(dark[top + 2 + 42 * row :][:40, :left].any() for row in range(2))
    assert all(dark[:top, left + 2 + 42 * column :][:, :40].any() for column in range(2))
    tiles = labeled_grid(x, 2, tile_labels=["a", "", "c"])
    strip = (tiles.height - plain.height) // 2
    below = [(np.asarray(tiles)[42 + row * (42 + strip) :][:strip, 2 + 42 * column :][:, :40] < 128).any()
             for row in range(2) for column in range(2)]  # fmt: skip
    assert below == [True, False, True, False]


def test_a_label_that_is_too_long_for_its_column_is_drawn_smaller():
    x = torch.ones(2, 3, 60, 60)
    picture = labeled_grid(x, 2, column_labels=["orientation_sin", ""], text_size=16)
    assert picture.mode == "RGB"
    columns = (np.asarray(picture) < 128).any(axis=(0, 2)).nonzero()[0]
    assert 30 < np.ptp(columns) <= 62


@pytest.mark.parametrize("name", ["row_labels", "column_labels", "tile_labels"])
def test_labels_without_a_place_are_refused(name):
    with pytest.raises(InvalidInputError, match=f"at most . {name}, got 9"):
        labeled_grid(torch.rand(4, 1, 8, 8), 2, **{name: ["x"] * 9})


def test_savers_are_checked(tmp_path):
    x = torch.rand(2, 3, 8, 8)
    with pytest.raises(InvalidInputError, match=r"\.png"):
        save_png(x[0], tmp_path / "x.jpg")
    with pytest.raises(InvalidInputError, match=r"\.gif"):
        save_gif(x, tmp_path / "x")
    with pytest.raises(InvalidInputError, match=r"\.png or \.jpg or \.jpeg or \.webp, got .*x\.bmp"):
        save_image(x[0], tmp_path / "x.bmp")
    with pytest.raises(InvalidInputError, match=r"\.gif or \.mp4"):
        save_animation(x, tmp_path / "x.png")
    with pytest.raises(InvalidInputError, match=r"contact_sheet\(x\)"):
        save_png(x, tmp_path / "x.png")
    with pytest.raises(InvalidInputError, match="one size"):
        save_gif([x[0], torch.rand(3, 9, 9)], tmp_path / "x.gif")
    with pytest.raises(InvalidInputError, match="at least one"):
        save_gif([], tmp_path / "x.gif")
    for fps in 0, -1, 51, float("nan"):
        with pytest.raises(InvalidInputError, match="fps"):
            save_gif(x, tmp_path / "x.gif", fps=fps)
    assert not any(tmp_path.iterdir())


def test_a_failed_encoding_leaves_the_old_file(tmp_path):
    path = save_png(torch.zeros(3, 8, 8), tmp_path / "x.png")
    before = path.read_bytes()
    with pytest.raises(InvalidInputError):
        save_png(torch.full((3, 8, 8), torch.nan), path)
    assert path.read_bytes() == before and Image.open(io.BytesIO(before)).size == (8, 8)


def test_batches_of_any_resolution_have_as_many_pixels_but_one_image_at_least():
    assert [default_batch_size(resolution) for resolution in (8, 64, 128, 256, 1024, 4096)] == [
        16_384,
        256,
        64,
        16,
        1,
        1,
    ]


def test_a_file_that_would_fill_the_memory_is_not_read(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InvalidInputError, match="bytes are more than"):
        as_batch(tmp_path / "a.png", channels=1, resolution=64)
