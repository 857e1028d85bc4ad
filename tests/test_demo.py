"""The page of `idgan demo`, in a real browser."""

import io
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import idgan
from idgan.demo import SOURCE_ADVICE, demo_page, serve, slider_ranges, write_space
from idgan.demo.page import _Page
from idgan.errors import IdganError, InvalidInputError
from idgan.figures import enlarged
from idgan.images import save_png, to_pil

gradio = pytest.importorskip("gradio", reason="gradio (the extra demo) is not installed")


@pytest.fixture(scope="module")
def sampler():
    return idgan.load("dsprites", device="cpu")


@pytest.fixture(scope="module")
def address(sampler):
    page = demo_page(sampler, "dsprites")
    yield serve(page, "127.0.0.1")
    page.close(verbose=False)


@pytest.fixture
def page(browser, address):
    """The page in a browser, whose requests to other computers fail the test."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(200_000)  # for a busy computer
    foreign = []
    page.on("request", lambda request: foreign.append(request.url) if not is_local(request.url) else None)
    page.goto(address)
    yield page
    page.close()
    assert not foreign


def is_local(url):
    return url.startswith(("http://127.0.0.1:", "data:", "blob:"))


def picture(page, element, after=None):
    """The picture that an element of the page shows, once it is another one than that of the address `after`."""
    page.wait_for_function(
        "([element, after]) => { const image = document.querySelector(`#${element} img`);"
        " return image && image.complete && image.naturalWidth && image.src !== after; }",
        arg=[element, after],
    )
    address = page.locator(f"#{element} img").get_attribute("src")
    with urllib.request.urlopen(address, timeout=30) as response:
        return address, Image.open(io.BytesIO(response.read()))


def move(page, slider, value):
    """Give a slider a value, in the field beside it."""
    field = page.locator(f"#{slider} input[type=number]")
    field.fill(str(value))
    field.press("Tab")


def shows(picture, x):
    """Whether a picture of the page shows the image x (1, 1, 64, 64)."""
    expected = np.asarray(to_pil(enlarged(x, 512))[0].convert("RGB"))
    return np.abs(np.asarray(picture.convert("RGB")).astype(int) - expected).max() <= 1


def test_the_page_shows_the_first_seed_and_follows_its_sliders(page, sampler):
    first, generated = picture(page, "generated")
    _, decoded = picture(page, "decoded")
    c, s = sampler.codes(1, 0)
    values = {dim: round(c[0, dim].item(), 2) for dim in sampler.active_dims}
    c = sampler.changed(c, values, absolute=True)
    assert generated.size == (512, 512)
    assert shows(generated, sampler.sample(c, s))
    assert shows(decoded, sampler.decode(c))
    dim = sampler.active_dims[0]
    move(page, f"sample-c{dim}", 1.5)
    _, generated = picture(page, "generated", first)
    assert shows(generated, sampler.sample(sampler.changed(c, {dim: 1.5}, absolute=True), s))


def test_reset_brings_back_the_code_of_the_seed(page, sampler):
    first, before = picture(page, "generated")
    move(page, f"sample-c{sampler.active_dims[0]}", -1.5)
    moved, _ = picture(page, "generated", first)
    page.locator("#reset").click()
    _, after = picture(page, "generated", moved)
    assert after.tobytes() == before.tobytes()


def test_a_random_code_has_a_seed(page, sampler):
    first, _ = picture(page, "generated")
    page.locator("#random").click()
    picture(page, "generated", first)
    seed = int(page.locator("#seed input").input_value())
    c, _ = sampler.codes(1, seed)
    dim = sampler.active_dims[0]
    found = float(page.locator(f"#sample-c{dim} input[type=number]").input_value())
    assert found == pytest.approx(c[0, dim].item(), abs=0.006)


@pytest.mark.slow
def test_a_picture_of_ones_own_is_inverted_and_edited(page, sampler, tmp_path):
    x = sampler.sample(seed=5)
    save_png(x[0], tmp_path / "sprite.png")
    page.get_by_role("tab", name="Your photo").click()
    page.locator("#photo input[type=file]").set_input_files(tmp_path / "sprite.png")
    encoded, _ = picture(page, "edited")
    _, seen = picture(page, "seen")
    assert shows(seen, x)
    move(page, "steps", 30)
    page.locator("#invert").click()
    inverted, found = picture(page, "edited", encoded)
    error = np.abs(np.asarray(found.convert("L")).astype(int) - np.asarray(seen.convert("L"))).mean() / 255
    assert error < 0.02
    dim = sampler.active_dims[0]
    move(page, f"photo-c{dim}", 1.5)
    edited, picture_ = picture(page, "edited", inverted)
    assert sampler.encode(picture_.resize((64, 64)))[0, dim] == pytest.approx(1.5, abs=0.5)
    page.locator("#undo").click()
    _, undone = picture(page, "edited", edited)
    assert undone.tobytes() == found.tobytes()
    whole = page.locator("#seen img").get_attribute("src")
    move(page, "zoom", 2)
    closer = picture(page, "seen", whole)[1]
    middle = np.asarray(to_pil(x[..., 16:48, 16:48])[0].resize((512, 512), Image.Resampling.NEAREST))
    assert np.corrcoef(np.asarray(closer.convert("L")).ravel(), middle.ravel())[0, 1] > 0.9


@pytest.mark.slow
def test_a_face_is_found_cut_and_kept(browser, shared, tmp_path):
    pytest.importorskip("dlib", reason="dlib (the extra faces) is not installed")
    with zipfile.ZipFile(shared("data/celeba178/celeba.zip")) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".jpg"))
        (tmp_path / "face.jpg").write_bytes(archive.read(name))
    sampler = idgan.load("celeba-64-w16", device="cpu")
    served = demo_page(sampler, "faces")
    page = browser.new_page()
    page.set_default_timeout(200_000)  # for a busy computer
    try:
        page.goto(serve(served, "127.0.0.1"))
        page.get_by_role("tab", name="Your photo").click()
        page.locator("#photo input[type=file]").set_input_files(tmp_path / "face.jpg")
        whole, _ = picture(page, "seen")
        page.locator("#align").click()
        _, seen = picture(page, "seen", whole)
        x = sampler.aligned(tmp_path / "face.jpg")
        assert likeness(seen, x) > 0.95  # not 1, because crosses are where the eyes should be
        before, drawn = picture(page, "edited")
        move(page, "steps", 30)
        page.locator("#invert").click()
        _, tuned = picture(page, "edited", before)
        assert likeness(tuned, x) > max(0.8, likeness(drawn, x) + 0.1)
    finally:
        page.close()
        served.close(verbose=False)


def likeness(picture, x):
    """Correlation of the pixels of a picture and of the image x (1, 3, 64, 64)."""
    small = np.asarray(picture.convert("RGB").resize((64, 64), Image.Resampling.BOX))
    return np.corrcoef(small.ravel(), np.asarray(to_pil(x)[0]).ravel())[0, 1]


def test_what_is_missing_is_said_on_the_page(page):
    page.get_by_role("tab", name="Your photo").click()
    page.locator("#invert").click()
    page.get_by_text("there is no photo yet; upload one first").wait_for()


def test_an_animation_is_made(page):
    page.get_by_role("tab", name="Animation").click()
    move(page, "frames", 5)
    page.locator("#make").click()
    _, gif = picture(page, "gif")
    assert gif.format == "GIF" and gif.n_frames == 8


def test_sliders_span_the_usual_codes(sampler):
    ranges = slider_ranges(sampler)
    assert list(ranges) == sampler.active_dims
    c, _ = sampler.codes(2000, seed=1)
    for dim, (low, high) in ranges.items():
        assert 0.96 < ((c[:, dim] >= low) & (c[:, dim] <= high)).float().mean() < 0.999


def test_visitors_do_not_share_a_gif(sampler):
    page = _Page(gradio, sampler, "dsprites")
    dims, code = sampler.active_dims[:1], [0.0] * len(sampler.active_dims)
    first, second = (Path(page.draw_animation(dims, span, 3, 0, 0, *code)) for span in (1, 2))
    assert first != second and first.read_bytes() != second.read_bytes()
    assert Path(page.files.name) in first.parents


def test_a_port_that_is_taken_is_named(sampler):
    page = demo_page(sampler, "dsprites")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(IdganError, match=f"cannot listen on port {port} of 127.0.0.1: the port is taken"):
            serve(page, "127.0.0.1", port)


@pytest.mark.slow
def test_the_command_serves_until_it_is_interrupted():
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "idgan", "demo", "dsprites"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        address = process.stdout.readline().split()[0]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=30) as response:
            assert "idgan: dsprites" in response.read().decode()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=300)
        assert (rest, process.returncode) == ("closed\n", 0), errors
    finally:
        process.kill()


# ------------------------------------------------------------------ Space


def test_a_space_is_written_with_its_front_matter(tmp_path):
    paths = write_space(tmp_path / "space", "org/sprites@v1")
    assert sorted(path.name for path in paths) == ["README.md", "app.py", "requirements.txt"]
    front = yaml.safe_load((tmp_path / "space" / "README.md").read_text().split("---")[1])
    assert front["sdk"] == "gradio" and front["sdk_version"] == gradio.__version__
    assert front["app_file"] == "app.py" and front["models"] == ["org/sprites"]
    requirements = (tmp_path / "space" / "requirements.txt").read_text()
    assert SOURCE_ADVICE in requirements and requirements.splitlines()[-1].startswith(
        "idgan[demo,faces] @ git+https://"
    )
    assert write_space(tmp_path / "space", "org/sprites@v1") == paths
    with pytest.raises(InvalidInputError, match=r"README\.md exists with another content"):
        (tmp_path / "space" / "README.md").write_text("mine")
        write_space(tmp_path / "space", "org/sprites@v1")
    assert (tmp_path / "space" / "README.md").read_text() == "mine"


@pytest.mark.slow
def test_the_app_of_a_space_serves_the_page(tmp_path):
    write_space(tmp_path, "dsprites")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
    process = subprocess.Popen([sys.executable, "app.py"], cwd=tmp_path, env=environment)
    try:
        for _ in range(3000):
            assert process.poll() is None
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as response:
                    assert "idgan: dsprites" in response.read().decode()
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail("the app does not answer")
    finally:
        process.kill()
