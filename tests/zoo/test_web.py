"""The web page of `idgan export --format web`, run by a real browser from a plain web server."""

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from idgan.cli import main
from idgan.errors import InvalidInputError
from idgan.networks import ConvGeneratorConfig, ModelConfig, Posterior, VAEConfig
from idgan.sampler import Sampler
from idgan.zoo.web import write_web_page
from idgan.zoo.weights import write_checkpoint

RUNTIME = Path(__file__).resolve().parents[2] / "node_modules" / "onnxruntime-web"
CLOSE = 1.1 / 255
"""Accepted difference of a pixel, which has 8 bits."""


@pytest.fixture(scope="module")
def sampler():
    """A sampler of color images with a nuisance, one inactive dimension and outputs that show them all."""
    torch.manual_seed(0)
    mean, logvar = torch.zeros(32, 3), torch.zeros(32, 3)
    mean[:, [0, 2]], logvar[:, [0, 2]] = torch.randn(32, 2), -3.0
    config = ModelConfig(VAEConfig(3, 3), ConvGeneratorConfig(3, 2, 3))
    sampler = Sampler(config, bank=Posterior(mean, logvar), info={"name": "small", "dims": {"hue": 2}})
    for parameter in sampler.parameters():
        parameter.mul_(3)
    return sampler


@pytest.fixture(scope="module")
def site(sampler, tmp_path_factory):
    """Directory and address of the page of `sampler`."""
    pytest.importorskip("onnxscript", reason="PyTorch exports to ONNX by onnxscript")
    if not RUNTIME.exists():
        pytest.skip("onnxruntime-web is missing: npm install --no-save onnxruntime-web")
    directory = tmp_path_factory.mktemp("web") / "page"
    result = write_web_page(sampler, directory, name="small", runtime=RUNTIME)
    assert max(result["differences"].values()) < 1e-4
    assert result["bytes"] == sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=directory))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield directory, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def page(browser, site):
    """The page in a browser, whose requests to other computers fail the test."""
    page = browser.new_page()
    page.set_default_timeout(200_000)  # for a busy computer
    foreign = []
    local = (site[1], "data:", "blob:")
    page.on("request", lambda request: foreign.append(request.url) if not request.url.startswith(local) else None)
    page.goto(site[1])
    page.wait_for_selector("body[data-drawn]", state="attached")
    yield page
    page.close()
    assert not foreign


def pixels(page, canvas):
    """The image on a canvas, (3, H, W) in [0, 1]."""
    width, values = page.evaluate(
        "id => { const canvas = document.getElementById(id), { width, height } = canvas;"
        " return [width, Array.from(canvas.getContext('2d').getImageData(0, 0, width, height).data)]; }",
        canvas,
    )
    return torch.tensor(values).view(-1, width, 4)[..., :3].movedim(-1, 0) / 255


def change(page, field, value, event):
    """Set a field of the page, and wait until the page has drawn. Returns the value that the field took."""
    return page.evaluate(
        """async ([id, value, event]) => {
            const field = document.getElementById(id), before = document.body.dataset.drawn;
            field.value = value;
            field.dispatchEvent(new Event(event));
            while (document.body.dataset.drawn === before) await new Promise((done) => setTimeout(done, 10));
            return Number(field.value);
        }""",
        [field, value, event],
    )


def test_the_page_draws_what_the_sampler_draws(page, sampler):
    c, s = sampler.codes(1, 0)
    expected = sampler(c, s)[0]
    assert expected.std() > 0.01
    assert (pixels(page, "generated") - expected).abs().max() < CLOSE
    assert (pixels(page, "decoded") - sampler.decode(c)[0]).abs().max() < CLOSE


def test_a_slider_changes_its_dimension(page, sampler):
    c, s = sampler.codes(1, 0)
    before = pixels(page, "generated")
    value = change(page, "c2", 1.25, "input")
    assert value == pytest.approx(1.25, abs=0.01)
    changed = sampler.changed(c, {2: value}, absolute=True)
    assert (pixels(page, "generated") - sampler(changed, s)[0]).abs().max() < CLOSE
    assert (pixels(page, "decoded") - sampler.decode(changed)[0]).abs().max() < CLOSE
    assert (pixels(page, "generated") - before).abs().max() > 5 * CLOSE
    page.locator("#reset").click()
    page.wait_for_function("document.body.dataset.drawn === '3'")
    assert torch.equal(pixels(page, "generated"), before)


def test_the_seed_of_the_nuisance_draws_all_that_no_slider_sets(page, sampler):
    change(page, "seed", 5, "change")
    change(page, "nuisance", 7, "change")
    (c, _), (rest, s) = sampler.codes(1, 5), sampler.codes(1, 7)
    expected = sampler(torch.where(sampler.active, c, rest), s)[0]
    assert (pixels(page, "generated") - expected).abs().max() < CLOSE


def test_sliders_have_names_and_the_ranges_of_codes(page, sampler):
    labels = page.locator("#sliders label").all_inner_texts()
    assert [label.split()[0] for label in labels] == [sampler.dim_label(dim) for dim in sampler.active_dims]
    assert "hue" in " ".join(labels)
    low, high = (float(page.locator("#c2").get_attribute(end)) for end in ("min", "max"))
    c, _ = sampler.codes(2000, seed=1)
    assert 0.96 < ((c[:, 2] >= low) & (c[:, 2] <= high)).float().mean() < 1


def test_a_page_opened_as_a_file_says_what_to_do(browser, site):
    page = browser.new_page()
    page.goto((site[0] / "index.html").as_uri())
    page.get_by_text("python -m http.server").wait_for()
    page.close()


def test_the_command_writes_the_page_again_but_over_no_other(sampler, site, tmp_path):
    model = str(write_checkpoint(tmp_path / "small.safetensors", sampler))
    arguments = ["export", model, "--format", "web", "--runtime", str(RUNTIME), "--out"]
    result = CliRunner().invoke(main, [*arguments, str(site[0])])
    assert result.exit_code == 0, result.output
    assert "with onnxruntime-web" in result.output
    assert str(tmp_path) not in (site[0] / "model.json").read_text()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("<html>mine</html>")
    result = CliRunner().invoke(main, [*arguments, str(tmp_path / "mine")])
    assert result.exit_code == 1 and "index.html is another page" in result.output
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["index.html"]


def test_the_size_of_a_page_counts_its_own_files(sampler, site):
    files = [path for path in site[0].rglob("*") if path.is_file()]
    (site[0] / "CNAME").write_text("example.org")
    result = write_web_page(sampler, site[0], name="small", runtime=RUNTIME)
    assert result["bytes"] == sum(path.stat().st_size for path in files)


@pytest.mark.parametrize("file", ["generator.onnx", "notes/plan.txt"])
def test_a_directory_of_other_files_is_refused(sampler, tmp_path, file):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("mine")
    with pytest.raises(InvalidInputError, match="holds other files and no page"):
        write_web_page(sampler, tmp_path, name="small", runtime=RUNTIME)
    assert (tmp_path / file).read_text() == "mine"
    with pytest.raises(InvalidInputError, match="is not a directory"):
        write_web_page(sampler, tmp_path / file, name="small", runtime=RUNTIME)


@pytest.mark.parametrize(
    ("package", "message"),
    [
        (None, "is not the npm package onnxruntime-web"),
        ({"name": "react", "version": "1"}, "is the npm package react"),
        ({"name": "onnxruntime-web", "version": "1"}, "has no dist/ort.wasm.bundle.min.mjs"),
    ],
)
def test_a_missing_runtime_is_named_with_the_command_that_installs_it(sampler, tmp_path, package, message):
    if package:
        (tmp_path / "package.json").write_text(json.dumps(package))
    with pytest.raises(InvalidInputError, match=f"{message}.*npm install --no-save onnxruntime-web"):
        write_web_page(sampler, tmp_path / "page", name="small", runtime=tmp_path)
    assert not (tmp_path / "page").exists()


def test_options_that_do_not_go_together_are_refused(tmp_path):
    for arguments in (["--format", "web", "--part", "encoder"], ["--runtime", str(tmp_path)]):
        result = CliRunner().invoke(main, ["export", "dsprites", *arguments, "--out", str(tmp_path / "out")])
        assert result.exit_code == 2 and "--format web" in result.output
    assert not list(tmp_path.iterdir())
