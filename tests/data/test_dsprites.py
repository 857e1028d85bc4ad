import math
import zipfile

import numpy as np
import pytest
import torch

from idgan.data.dsprites import DSprites, read_published, render
from idgan.errors import DataError, InvalidInputError

SQUARE, ELLIPSE, HEART = range(3)
FACTORS = DSprites.factors

# (factors, (top, left), sprite): each verified pixel by pixel against the published image. In the last two, the outline
# runs exactly through a pixel center: a bottom edge, where the pixel is on, and a right edge, where it is off.
GOLDEN = [
    (
        (SQUARE, 0, 9, 5, 5),
        (16, 16),
        """
        .######...
        .#########
        .#########
        .#########
        ##########
        ##########
        ##########
        ##########
        ##########
        .########.
        """,
    ),
    (
        (ELLIPSE, 0, 16, 26, 24),
        (36, 37),
        """
        .####.......
        #######.....
        #########...
        ##########..
        .##########.
        .##########.
        ..##########
        ...#########
        .....######.
        """,
    ),
    (
        (HEART, 3, 24, 14, 4),
        (14, 25),
        """
        #.............
        .#######......
        .###########..
        .############.
        .#############
        .#############
        .#############
        .#############
        .#############
        .#######.####.
        .########.....
        .########.....
        .########.....
        ..######......
        ...####.......
        """,
    ),
    (
        (HEART, 0, 15, 29, 1),
        (14, 40),
        """
        ..#######
        .########
        #########
        #########
        .########
        ..#.#####
        ....#####
        ....####.
        .....##..
        """,
    ),
    (
        (HEART, 0, 16, 17, 30),
        (43, 28),
        """
        .......#.
        ...#####.
        .#######.
        ########.
        #########
        #########
        .########
        ....#####
        ....####.
        """,
    ),
]


def index_of(*factors):
    return FACTORS.indices(torch.tensor([factors]))


def poses(position_x, position_y):
    """Indices of all 720 (shape, scale, orientation) at one position, shape slowest."""
    return torch.arange(720) * 1024 + position_x * 32 + position_y


def images(indices):
    return DSprites().images(indices)[:, 0]


# ------------------------------------------------------------------ the source


def test_it_is_a_source_of_binary_images():
    source = DSprites()
    assert (source.resolution, source.image_channels, len(source)) == (64, 1, 737_280)
    assert len(source.factors) == len(source)
    x = source.images(torch.tensor([0, 400_000, 737_279]), torch.Generator())
    assert x.shape == (3, 1, 64, 64) and x.dtype == torch.float32
    assert x.unique().tolist() == [0, 1]
    assert source.images(torch.empty(0, dtype=torch.long)).shape == (0, 1, 64, 64)


@pytest.mark.parametrize(
    "indices", [torch.tensor([737_280]), torch.tensor([-1]), torch.tensor([0.5]), torch.tensor([[0]]), [0]]
)
def test_bad_indices_are_refused(indices):
    with pytest.raises(InvalidInputError, match="indices"):
        DSprites().images(indices)


def test_an_image_does_not_depend_on_its_batch():
    indices = torch.randint(len(FACTORS), (40,))
    together = images(indices)
    assert torch.equal(together, torch.cat([images(index[None]) for index in indices]))
    assert torch.equal(together.flip(0), images(indices.flip(0)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_renders_the_same_bits():
    indices = torch.randint(len(FACTORS), (5000,))
    assert torch.equal(images(indices.cuda()).cpu(), images(indices))


# ------------------------------------------------------------------ the pixels


def test_genuine_images_are_reproduced(shared):
    with np.load(shared("data/dsprites/genuine.npz")) as file:
        indices = torch.from_numpy(file["index"].astype(np.int64))
        packed = file["imgs"]
    wrong = []
    for part, bits in zip(indices.split(2048), np.array_split(packed, range(2048, len(packed), 2048))):
        genuine = torch.from_numpy(np.unpackbits(bits, axis=1).reshape(-1, 64, 64))
        wrong.append((images(part) != genuine).sum((1, 2)))
    wrong = torch.cat(wrong)
    assert len(wrong) == 32_417
    assert (wrong == 0).float().mean() > 0.9998 and wrong.max() == 1


@pytest.mark.parametrize(
    "factors, corner, sprite", GOLDEN, ids=["square", "ellipse", "heart", "bottom edge", "right edge"]
)
def test_golden_images(factors, corner, sprite):
    rows = torch.tensor([[pixel == "#" for pixel in line] for line in sprite.split()]).float()
    (top, left), (height, width) = corner, rows.shape
    expected = torch.zeros(64, 64)
    expected[top : top + height, left : left + width] = rows
    assert torch.equal(images(index_of(*factors))[0], expected)


def test_pixels_are_those_whose_center_is_inside_the_outline():
    """Against the drawing rule worked out in floating point; only centers within 1/100 px of the outline may differ."""
    pixels = np.stack(np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5), axis=-1)
    indices = torch.randint(len(FACTORS), (20,))
    for image, (shape, scale, k, x, y) in zip(images(indices), FACTORS.factors(indices).tolist()):
        angle, size = -2 * math.pi * k / 39, 64 * (0.5 + 0.1 * scale)
        center = 16 + 32 * np.array([x, y]) / 31
        upright = (
            (pixels - center)
            @ np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            / size
        )
        near, inside = _inside(shape, upright[..., 0] / 0.15, upright[..., 1] / 0.15, tolerance=0.01 / size / 0.15)
        assert not ((image.numpy() == 1) != inside)[~near].any()


def _inside(shape, x, y, tolerance):
    """(within the tolerance of the outline, inside), for points in units of 0.15 size."""
    if shape == SQUARE:
        margin = 1 - np.maximum(abs(x), abs(y))
    elif shape == ELLIPSE:  # a polygon of 100 vertices lies up to 0.0007 inside its ellipse
        margin = (1 - np.hypot(x / 1.33, y * 1.33)) * 0.75
        tolerance = tolerance + 0.001
    else:
        t = 2 * np.pi * np.arange(150) / 150
        a = np.stack(
            [np.sin(t) ** 3, -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 14.5 - 0.15],
            axis=-1,
        )
        b = np.roll(a, -1, axis=0)
        p = np.stack([x, y], axis=-1)[..., None, :]
        along = np.clip(((p - a) * (b - a)).sum(-1) / ((b - a) ** 2).sum(-1), 0, 1)[..., None]
        distance = np.linalg.norm(p - a - along * (b - a), axis=-1).min(-1)
        straddles = (a[:, 1] > p[..., 1]) != (b[:, 1] > p[..., 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = a[:, 0] + (p[..., 1] - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
        odd = (straddles & (crossing > p[..., 0])).sum(-1) % 2 == 1
        margin = np.where(odd, distance, -distance)
    return abs(margin) < tolerance, margin > 0


# ------------------------------------------------------------------ what the factors do


def test_positions_a_whole_number_of_pixels_apart_are_translations():
    origin = images(poses(0, 0))
    assert torch.equal(images(poses(31, 0)), origin.roll(32, dims=2))
    assert torch.equal(images(poses(0, 31)), origin.roll(32, dims=1))


def test_positions_move_the_center_of_mass():
    factors = torch.tensor(
        [[shape, 5, 7, x, y] for shape in (SQUARE, ELLIPSE) for x, y in [(0, 31), (10, 20), (17, 3)]]
    )
    x = images(FACTORS.indices(factors))
    at = torch.arange(64) + 0.5
    mass = x.sum((1, 2))
    center = torch.stack([x.sum(1) @ at / mass, x.sum(2) @ at / mass], dim=1)
    assert (center - (16 + 32 * factors[:, 3:] / 31)).abs().max() < 0.15


@pytest.mark.parametrize("scale", range(6))
def test_areas_are_the_shapes(scale):
    size = 64 * (0.5 + 0.1 * scale)
    t = torch.arange(150, dtype=torch.float64) * 2 * math.pi / 150
    x, y = t.sin() ** 3, (13 * t.cos() - 5 * (2 * t).cos() - 2 * (3 * t).cos() - (4 * t).cos()) / 14.5
    heart = (x * y.roll(-1) - x.roll(-1) * y).sum().abs().item() / 2  # shoelace formula
    for shape, area in (SQUARE, 4), (ELLIPSE, math.pi), (HEART, heart):
        start = index_of(shape, scale, 5, 0, 0)
        pixels = images(start + torch.arange(0, 1024, 5)).sum((1, 2)).mean().item()
        assert pixels == pytest.approx(area * (0.15 * size) ** 2, rel=0.01)


def test_the_last_orientation_is_the_first():
    x = images(poses(9, 22)).view(18, 40, 64, 64)
    assert torch.equal(x[:, 0], x[:, 39])
    assert not (x[:, 0] == x[:, 1]).flatten(1).all(1).any()


def test_opposite_orientations_are_mirror_images():
    """The outlines are symmetric about their vertical axis. Only pixels with centers on an outline may differ."""
    x = images(poses(0, 0)).view(18, 40, 64, 64)[..., :32]
    differing = (x != x.flip(1).flip(3)).sum((2, 3))
    assert differing.max() <= 2 and (differing == 0).float().mean() > 0.95


# ------------------------------------------------------------------ the published file


COUNT = 1000


def published():
    """The members of a small npz laid out like the published one, pickled metadata included."""
    return {
        "imgs": render(torch.arange(COUNT)).numpy().astype(np.uint8),
        "metadata": np.array({"title": "dSprites"}, dtype=object),
    }


def test_a_file_in_the_published_layout_is_read_packed(tmp_path):
    np.savez_compressed(tmp_path / "dsprites.npz", **published())
    packed = read_published(tmp_path / "dsprites.npz", COUNT)
    assert packed.shape == (COUNT, 512) and packed.dtype == torch.uint8
    source = DSprites()
    source._packed = packed
    indices = torch.randint(COUNT, (50,))
    assert torch.equal(source.images(indices), DSprites().images(indices))


def test_a_pixel_that_the_renderer_misses_is_kept(tmp_path):
    imgs = published()["imgs"]
    imgs[0, 0, 0] = 1
    np.savez(tmp_path / "dsprites.npz", imgs=imgs)
    assert np.unpackbits(read_published(tmp_path / "dsprites.npz", COUNT)[0].numpy())[0] == 1


def altered(position, value):
    imgs = published()["imgs"]
    imgs[position] = value
    return imgs


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: {"imgs": published()["imgs"][:-1]}, "shape"),
        (lambda: {"imgs": published()["imgs"].astype(np.float32)}, "uint8"),
        (lambda: {"imgs": np.asfortranarray(published()["imgs"])}, "C order"),
        (lambda: {"imgs": published()["imgs"] * 255}, "found 255"),
        (lambda: {"imgs": altered((500, 3), 2)}, "found 2"),
        (lambda: {"imgs": published()["imgs"][::-1].copy()}, "is not the published one"),
        (lambda: {"imgs": altered((COUNT - 1, 0), 1)}, f"image {COUNT - 1} is not the published one"),
        (lambda: {"imgs": np.full(COUNT, None, dtype=object)}, "dtype"),
        (lambda: {"images": published()["imgs"]}, "imgs"),
    ],
)
def test_another_content_is_refused(tmp_path, make, message):
    np.savez_compressed(tmp_path / "other.npz", **make())
    with pytest.raises(DataError, match=message):
        read_published(tmp_path / "other.npz", COUNT)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_file_is_refused(tmp_path, compression):
    path = tmp_path / "dsprites.npz"
    (np.savez if compression == zipfile.ZIP_STORED else np.savez_compressed)(path, **published())
    whole = path.read_bytes()
    for damage in (
        whole[: len(whole) // 2],
        whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:],
        b"<html>not found</html>",
        b"",
    ):
        path.write_bytes(damage)
        with pytest.raises(DataError, match="dsprites.npz cannot be read"):
            read_published(path, COUNT)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        DSprites(tmp_path / "absent.npz")


def test_a_part_of_the_data_set_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "part.npz", **published())
    with pytest.raises(DataError, match="737280"):
        DSprites(tmp_path / "part.npz")
