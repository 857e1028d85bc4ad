import http.server
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from idgan.data import dsprites_variants
from idgan.data.directory import data_directory
from idgan.data.dsprites import DSprites
from idgan.data.dsprites_variants import ColorDSprites, NoisyDSprites, ScreamDSprites, prepare_scream
from idgan.errors import DataError, InvalidInputError, MissingDependencyError

INDICES = torch.arange(0, 737_280, 3600)  # 205 images


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A smooth picture with noise, of the painting's format."""
    path = tmp_path_factory.mktemp("picture") / "picture.jpg"
    y, x = np.mgrid[0:652, 0:512]
    channels = np.stack([x / 512, y / 652, (x + y) / 1164], axis=-1)
    noisy = channels + 0.2 * np.random.default_rng(0).normal(size=channels.shape)
    Image.fromarray((255 * noisy.clip(0, 1)).astype(np.uint8)).save(path)
    return path


@pytest.fixture(params=["color levels", "color uniform", "noisy", "scream"])
def source(request, picture):
    return {
        "color levels": ColorDSprites,
        "color uniform": lambda: ColorDSprites(colors="uniform"),
        "noisy": NoisyDSprites,
        "scream": lambda: ScreamDSprites(picture),
    }[request.param]()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def masks(indices=INDICES):
    """(N, 1, 64, 64) bool: which pixels are sprite."""
    return DSprites().images(indices) == 1


# ------------------------------------------------------------------ every variant


def test_it_is_a_source_of_color_images(source):
    assert (source.resolution, source.image_channels, len(source)) == (64, 3, 737_280)
    assert source.factors == DSprites.factors and source.stochastic
    x = source.images(INDICES, seeded())
    assert x.shape == (205, 3, 64, 64) and x.dtype == torch.float32
    assert x.min() >= 0 and x.max() <= 1
    assert source.images(INDICES[:0], seeded()).shape == (0, 3, 64, 64)


def test_the_generator_decides_everything(source):
    assert torch.equal(source.images(INDICES, seeded(1)), source.images(INDICES, seeded(1)))
    assert not torch.equal(source.images(INDICES, seeded(1)), source.images(INDICES, seeded(2)))
    torch.manual_seed(3)
    x = source.images(INDICES)
    torch.manual_seed(3)
    assert torch.equal(source.images(INDICES), x)


def test_the_images_of_a_batch_differ_in_their_nuisance(source):
    x = source.images(INDICES[:1].expand(5), seeded())
    assert len(x.unique(dim=0)) == 5


def test_images_apart_are_those_of_single_draws(source):
    indices = INDICES[:7]
    alone = [source.images(index, seeded(seed)) for seed, index in enumerate(indices.split(1))]
    assert torch.equal(source.images_apart(indices, [seeded(seed) for seed in range(7)]), torch.cat(alone))
    with pytest.raises(ValueError, match="shorter"):
        source.images_apart(indices, [seeded()])


def test_the_sprites_may_come_from_another_source():
    class Blank(DSprites):
        def images(self, indices, generator=None):
            return torch.zeros(len(indices), 1, 64, 64)

    assert not ColorDSprites(sprites=Blank()).images(INDICES).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_images(source):
    x = source.images(INDICES.cuda(), seeded())
    assert x.is_cuda and torch.allclose(x.cpu(), source.images(INDICES, seeded()), atol=1e-7)


# ------------------------------------------------------------------ Color-dSprites


def colors(source, n=4000):
    """(n, 3) colors the sprite is drawn in; pixel (32, 32) of this index lies inside it."""
    index = source.factors.indices(torch.tensor([[0, 5, 0, 15, 15]]))
    return source.images(index.expand(n), seeded())[:, :, 32, 32]


@pytest.mark.parametrize("levels", [2, 8])
def test_a_color_channel_takes_evenly_spaced_levels_equally_often(levels):
    values, counts = colors(ColorDSprites(levels=levels)).unique(return_counts=True)
    assert torch.allclose(values, torch.linspace(0, 1, levels))
    assert ((counts - 12_000 / levels).abs() < 5 * (12_000 / levels) ** 0.5).all()


def test_uniform_colors_lie_in_the_upper_half():
    drawn = colors(ColorDSprites(colors="uniform"))
    assert drawn.min() >= 0.5 and drawn.max() <= 1
    assert drawn.mean() == pytest.approx(0.75, abs=0.01) and drawn.var() == pytest.approx(0.25 / 12, rel=0.05)


def test_channels_are_drawn_independently():
    assert torch.corrcoef(colors(ColorDSprites()).T).fill_diagonal_(0).abs().max() < 0.08


def test_a_sprite_has_one_color_on_black():
    x = ColorDSprites(colors="uniform").images(INDICES, seeded())
    sprite = masks().expand_as(x)
    assert not x[~sprite].any()
    color = x.amax((2, 3), keepdim=True).expand_as(x)
    assert torch.equal(x[sprite], color[sprite])


@pytest.mark.parametrize("options, message", [({"colors": "rainbow"}, "rainbow"), ({"levels": 1}, "levels")])
def test_unknown_colors_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        ColorDSprites(**options)


# ------------------------------------------------------------------ Noisy-dSprites


def test_the_sprite_is_white_and_the_background_uniform_noise():
    x = NoisyDSprites().images(INDICES, seeded())
    sprite = masks().expand_as(x)
    assert (x[sprite] == 1).all()
    noise = x[~sprite]
    assert noise.max() < 1
    assert noise.mean() == pytest.approx(1 / 2, abs=0.002) and noise.var() == pytest.approx(1 / 12, abs=0.001)


def test_noise_is_independent_over_channels_and_pixels():
    x = NoisyDSprites().images(INDICES, seeded())[:, :, :2, :2]  # a corner that no sprite reaches
    assert torch.corrcoef(x.flatten(1).T).fill_diagonal_(0).abs().max() < 0.3


# ------------------------------------------------------------------ Scream-dSprites


def test_the_picture_is_shrunk_with_its_aspect_kept(picture):
    assert ScreamDSprites(picture).painting.shape == (3, 274, 215)


def test_the_painting_itself(shared):
    source = ScreamDSprites(shared("data/scream/The_Scream.jpg"))
    assert source.painting.shape == (3, 274, 215)
    red, _, blue = source.painting[:, :60].mean((1, 2))  # the sky
    assert red > blue + 0.2
    assert source.images(INDICES, seeded()).std() > 0.1


def test_the_sprite_is_the_negative_of_its_background(picture):
    """With the draws of one generator, the image with and without its sprite."""
    source = ScreamDSprites(picture)
    sprite = masks()
    x = source.paint(sprite.float(), seeded())
    background = source.paint(torch.zeros(sprite.shape), seeded())
    assert torch.equal(x, torch.where(sprite, 1 - background, background))


def test_a_background_is_half_a_crop_and_half_one_shift(picture):
    source = ScreamDSprites(picture)
    height, width = 274, 215
    y, x = torch.arange(height) / height, torch.arange(width) / width
    squares = torch.stack(
        [y.square()[:, None].expand(height, width), x.square().expand(height, width), torch.full((height, width), 0.3)]
    )
    source.painting = squares  # the first difference of y^2 tells where a crop was made, whatever its shift
    background = source.paint(torch.zeros(2000, 1, 64, 64), seeded())
    top = (background[:, 0, 1, 0] - background[:, 0, 0, 0]).mul(height**2).sub(0.5).round().long()
    left = (background[:, 1, 0, 1] - background[:, 1, 0, 0]).mul(width**2).sub(0.5).round().long()

    assert (top.min(), top.max(), left.min(), left.max()) == (0, height - 64, 0, width - 64)
    shift = 2 * background[:, :, 0, 0] - squares[:, top, left].T
    assert shift.min() > -1e-6 and shift.max() < 1 + 1e-6
    assert shift.mean().item() == pytest.approx(1 / 2, abs=0.02) and shift.var().item() == pytest.approx(
        1 / 12, abs=0.005
    )
    for i in range(20):
        crop = squares[:, top[i] : top[i] + 64, left[i] : left[i] + 64]
        assert torch.allclose(background[i], (crop + shift[i, :, None, None]) / 2, atol=1e-6)


# ------------------------------------------------------------------ the painting's file


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("IDGAN_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_the_data_directory_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("IDGAN_DATA", str(tmp_path))
    assert data_directory() == tmp_path
    monkeypatch.delenv("IDGAN_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_directory() == tmp_path / "idgan" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_directory() == tmp_path / ".cache" / "idgan" / "data"


def test_without_a_painting_it_says_how_to_get_one(home):
    with pytest.raises(DataError, match="idgan prepare scream"):
        ScreamDSprites()


def test_a_prepared_painting_is_found(home, picture):
    path = prepare_scream(picture)
    assert path.parent == home and path.read_bytes() == picture.read_bytes()
    assert torch.equal(ScreamDSprites().painting, ScreamDSprites(picture).painting)


def test_it_can_be_stored_elsewhere(home, picture, tmp_path):
    assert prepare_scream(picture, tmp_path / "elsewhere").parent == tmp_path / "elsewhere"
    assert not home.exists()


def bad_content(kind, picture):
    if kind == "html":
        return b"<html>404</html>"
    if kind == "empty":
        return b""
    return picture.read_bytes()[:5000]


@pytest.mark.parametrize("kind", ["html", "empty", "truncated"])
def test_what_is_no_picture_is_refused_and_not_stored(kind, home, picture, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(bad_content(kind, picture))
    with pytest.raises(DataError, match="bad.jpg"):
        prepare_scream(tmp_path / "bad.jpg")
    with pytest.raises(DataError, match="bad.jpg"):
        ScreamDSprites(tmp_path / "bad.jpg")
    assert not home.exists()


@pytest.mark.parametrize("size, shrunk", [((200, 250), "200 x 250"), ((2000, 100), "350 x 18")])
def test_a_picture_too_small_for_its_crops_is_refused(size, shrunk, home, tmp_path):
    Image.new("RGB", size).save(tmp_path / "small.png")
    with pytest.raises(DataError, match=f"small.png is too small: .* it has {shrunk} px"):
        prepare_scream(tmp_path / "small.png")
    assert not home.exists()


def test_a_missing_file_is_reported(home, tmp_path):
    for make in prepare_scream, ScreamDSprites:
        with pytest.raises(DataError, match="absent.jpg"):
            make(tmp_path / "absent.jpg")


# ------------------------------------------------------------------ the download, from a server on this machine


@pytest.fixture
def serve(monkeypatch):
    """`serve(status, content)`: from now on the painting's address answers so."""
    pytest.importorskip("requests", reason="the extra data is not installed")
    answer = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(answer["status"])
            self.send_header("Content-Length", str(answer["length"]))
            self.end_headers()
            self.wfile.write(answer["content"])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(dsprites_variants, "SCREAM_URL", f"http://127.0.0.1:{server.server_port}/scream.jpg")
    yield lambda status, content, length=None: answer.update(
        status=status, content=content, length=length or len(content)
    )
    server.shutdown()
    server.server_close()


def test_the_painting_is_downloaded(home, picture, serve):
    serve(200, picture.read_bytes())
    assert prepare_scream().read_bytes() == picture.read_bytes()


def test_a_download_without_requests_names_the_extra_and_another_way(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(MissingDependencyError, match=r"Or save http.* The extra 'data' .*pip install -e '\.\[data\]'"):
        prepare_scream()


def test_a_failed_download_says_what_to_do(home, picture, serve):
    serve(404, b"gone")
    with pytest.raises(DataError, match="404.*idgan prepare scream"):
        prepare_scream()
    serve(200, picture.read_bytes()[:5000], length=10_000)
    with pytest.raises(DataError, match="could not be downloaded"):
        prepare_scream()
    serve(200, b"<html>sign in</html>")
    with pytest.raises(DataError, match="scream.jpg cannot be read as a picture"):
        prepare_scream()
    assert not home.exists()


def test_an_unreachable_server_is_reported(home, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(dsprites_variants, "SCREAM_URL", "http://127.0.0.1:9/scream.jpg")
    with pytest.raises(DataError, match="could not be downloaded"):
        prepare_scream()
