"""`sample`, `traverse`, `encode`, `reconstruct`, `edit`: each writes its file, and the file shows the right images."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import idgan
from idgan.figures import (
    code_grid_sheet,
    edit_sheet,
    reconstruction_sheet,
    sample_sheet,
    traversal_frames,
    traversal_sheet,
)
from idgan.images import as_batch, psnr, save_png, to_pil


@pytest.fixture
def sampler(directory):
    return idgan.load("small.safetensors")


def shows(path, picture):
    """Whether the file at `path` holds the pixels of the PIL image `picture`."""
    with Image.open(path) as file:
        return file.size == picture.size and np.array_equal(
            np.asarray(file.convert("RGB")), np.asarray(picture.convert("RGB"))
        )


# ------------------------------------------------------------------ sample


def test_sample_draws_one_image_a_seed(run, sampler):
    output = run("sample", "small.safetensors", "--seeds", "3,5-6")
    assert output.startswith("small-samples.png: samples of small.safetensors (3); left: generator")
    codes = [sampler.codes(1, seed) for seed in (3, 5, 6)]
    assert shows("small-samples.png", sample_sheet(sampler, *map(torch.cat, zip(*codes))))


def test_sample_from_a_run_into_a_file(run, sampler, directory):
    run("sample", "runs/small", "--seeds", "0", "--prior", "normal", "--out", "deep/er/picture.png")
    assert shows("deep/er/picture.png", sample_sheet(sampler, *sampler.codes(1, 0, "normal")))
    run("sample", "runs/small", "--seeds", "0")
    assert (directory / "small-samples.png").is_file()


def test_separate_images_do_not_depend_on_the_others(run, sampler, directory):
    output = run("sample", "small.safetensors", "--seeds", "4,0-1", "--separate", "images")
    assert output == "images: samples of small.safetensors (3), 64x64, one file per seed\n"
    assert sorted(path.name for path in directory.glob("images/*")) == [
        "seed000000.png",
        "seed000001.png",
        "seed000004.png",
    ]
    for seed in (0, 1, 4):
        assert shows(f"images/seed{seed:06d}.png", to_pil(sampler.sample(seed=seed))[0])


def test_sample_crosses_codes_with_nuisances(run, sampler):
    output = run("sample", "small.safetensors", "--grid")
    assert output.startswith(
        "small-grid.png: 8 codes (rows) x 8 nuisances (columns) of small.safetensors; left: VAE decoder"
    )
    codes = [sampler.codes(1, seed) for seed in range(8)]
    assert shows("small-grid.png", code_grid_sheet(sampler, *map(torch.cat, zip(*codes))))
    run("sample", "small.safetensors", "--grid", "--seeds", "4,9", "--out", "two.png")
    codes = [sampler.codes(1, seed) for seed in (4, 9)]
    assert shows("two.png", code_grid_sheet(sampler, *map(torch.cat, zip(*codes))))


def test_sample_refuses(fail, directory):
    assert "'1-0' is not a number or a range" in fail("sample", "small.safetensors", "--seeds", "1-0", code=2)
    assert "excludes --out and --grid" in fail(
        "sample", "small.safetensors", "--out", "a.png", "--separate", "b", code=2
    )
    assert "excludes --out and --grid" in fail("sample", "small.safetensors", "--grid", "--separate", "b", code=2)
    assert "1,001 images exceed the limit of 1,000 per sheet; use --separate" in fail(
        "sample", "small.safetensors", "--seeds", "0-1000", code=2
    )
    assert "1,024 images exceed the limit" in fail("sample", "small.safetensors", "--grid", "--seeds", "0-31", code=2)
    assert "must end in .png, got 'a.jpg'" in fail("sample", "small.safetensors", "--out", "a.jpg", code=2)
    assert "device 'gpu' cannot be used here" in fail("sample", "small.safetensors", "--device", "gpu")
    assert "is not a whole safetensors file" in fail("sample", "one.png")
    assert "did you mean 'dsprites'" in fail("sample", "dsprits")
    (directory / "file").touch()
    assert "file/a.png: Not a directory" in fail("sample", "small.safetensors", "--out", "file/a.png", code=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "--out", "a.jpg"],
        ["sample", "--out", "runs"],
        ["sample", "--separate", "one.png"],
        ["traverse", "--out", "a.mp4"],
        ["encode", "one.png", "--out", "one.png/codes.json"],
        ["reconstruct", "one.png", "--out", "a.jpg"],
        ["edit", "one.png", "--set", "0=1", "--out", "a.jpg"],
    ],
    ids=" ".join,
)
def test_a_wrong_output_is_refused_before_the_model_is_loaded(fail, monkeypatch, arguments):
    command, *options = arguments
    monkeypatch.setattr("idgan.load", None, raising=False)
    assert "Invalid value for '--" in fail(command, "small.safetensors", *options, code=2)


def test_threads_and_home_directories_are_taken(run, directory, monkeypatch):
    monkeypatch.setenv("HOME", str(directory))
    before = torch.get_num_threads()
    try:
        output = run("encode", "~/small.safetensors", "~/one.png", "--out", "~/codes.json", "--threads", "2")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert output == f"{directory}/codes.json: codes of 3 dimensions (1)\n"


# ------------------------------------------------------------------ traverse


def test_traverse_shows_the_live_dimensions(run, sampler):
    output = run("traverse", "small.safetensors", "--seed", "3", "--steps", "4")
    assert output.startswith("small-traversals.png: dimensions c2, c0 from -3 to 3; one row per dimension")
    assert shows("small-traversals.png", traversal_sheet(sampler, steps=4, seed=3))


def test_traverse_from_an_image(run, sampler):
    output = run(
        "traverse",
        "runs/small",
        "--image",
        "two.png",
        "--dims",
        "0-1",
        "--span",
        "-1",
        "0.5",
        "--steps",
        "2",
        "--out",
        "t.png",
    )
    assert output.startswith("t.png: dimensions c0, c1 from -1 to 0.5;")
    assert shows("t.png", traversal_sheet(sampler, sampler.encode("two.png"), dims=[0, 1], span=(-1, 0.5), steps=2))


def test_an_animation_goes_there_and_back(run, sampler):
    output = run("traverse", "small.safetensors", "--dims", "0", "--steps", "5", "--out", "t.gif")
    assert output == "t.gif: dimensions c0 from -3 to 3; one tile per dimension, forward and back\n"
    frames = traversal_frames(sampler, dims=[0], steps=5)
    with Image.open("t.gif") as file:
        assert file.n_frames == len(frames) == 8
        for index, frame in enumerate(frames):
            file.seek(index)
            assert np.array_equal(np.asarray(file.convert("L")), np.asarray(to_pil(frame)[0]))


def test_traverse_refuses(fail):
    assert "code dimension must be an integer from 0 to 2, got 3; the active ones are [2, 0]" in fail(
        "traverse", "small.safetensors", "--dims", "3"
    )
    assert "code dimension must be an integer from 0 to 2, got 'x'" in fail(
        "traverse", "small.safetensors", "--dims", "x"
    )
    assert "'' is not a number" in fail("traverse", "small.safetensors", "--dims", "", code=2)
    assert "span must be two finite numbers" in fail("traverse", "small.safetensors", "--span", "0", "nan")
    assert "1 is not in the range 2<=x<=100" in fail("traverse", "small.safetensors", "--steps", "1", code=2)
    assert "must end in .png" in fail("traverse", "small.safetensors", "--out", "a.mp4", code=2)
    assert "does not exist" in fail("traverse", "small.safetensors", "--image", "none.png", code=2)


# ------------------------------------------------------------------ encode


def test_encode_prints_json(run, sampler):
    result = json.loads(run("encode", "small.safetensors", "one.png", "two.png"))
    assert (result["model"], result["active_dims"]) == ("small.safetensors", [2, 0])
    assert [code["image"] for code in result["codes"]] == ["one.png", "two.png"]
    posterior = sampler.posterior(["one.png", "two.png"])
    assert torch.allclose(torch.tensor([code["mean"] for code in result["codes"]]), posterior.mean, atol=1e-6)
    assert torch.allclose(
        torch.tensor([code["std"] for code in result["codes"]]).log() * 2, posterior.logvar, atol=1e-5
    )


def test_encode_writes_json(run, directory):
    assert (
        run("encode", "small.safetensors", "one.png", "--out", "codes.json")
        == "codes.json: codes of 3 dimensions (1)\n"
    )
    assert json.loads((directory / "codes.json").read_text()) == json.loads(
        run("encode", "small.safetensors", "one.png")
    )


def test_encode_refuses(fail, run, directory):
    (directory / "page.png").write_text("<html>")
    Image.new("L", (64, 80)).save("tall.png")
    assert "cannot read the image page.png" in fail("encode", "small.safetensors", "page.png")
    assert "64 wide and 80 high, not square" in fail("encode", "small.safetensors", "tall.png")
    assert json.loads(run("encode", "small.safetensors", "tall.png", "--crop"))["codes"]
    assert "crop=65 is" in fail("encode", "small.safetensors", "tall.png", "--crop-side", "65")
    assert "Missing argument 'IMAGES...'" in fail("encode", "small.safetensors", code=2)


# ------------------------------------------------------------------ reconstruct


def test_reconstruct_stands_beside_the_original_and_says_how_close_it_is(run, sampler):
    output = run("reconstruct", "small.safetensors", "one.png", "two.png", "--seed", "3")
    x = as_batch(["one.png", "two.png"], channels=1, resolution=64)
    drawn = (sampler.decode(sampler.posterior(x).mean), sampler.reconstruct(x, seed=3))
    decoder, generator = (f"{psnr(y, x).mean():.1f}" for y in drawn)
    scores = f"PSNR decoder {decoder}, generator {generator} dB"
    assert output == f"small-reconstruction.png: originals and reconstructions (2); {scores}\n"
    assert shows("small-reconstruction.png", reconstruction_sheet(sampler, ["one.png", "two.png"], seed=3))


def test_reconstruct_finds_what_the_code_does_not_carry(run, sampler):
    output = run("reconstruct", "runs/small", "one.png", "--invert", "--steps", "3", "--seed", "2", "--out", "r.png")
    assert "dB" in output and ", inverted " in output
    codes = sampler.invert("one.png", steps=3, seed=2)
    assert shows("r.png", reconstruction_sheet(sampler, "one.png", seed=2, codes=codes))


def test_reconstruct_refuses(fail, run):
    Image.new("L", (64, 80)).save("tall.png")
    assert "64 wide and 80 high, not square" in fail("reconstruct", "small.safetensors", "tall.png")
    run("reconstruct", "small.safetensors", "tall.png", "--crop")
    assert "Missing argument 'IMAGES...'" in fail("reconstruct", "small.safetensors", code=2)


# ------------------------------------------------------------------ edit


def test_edit_shows_original_reconstruction_and_edit(run, sampler):
    output = run("edit", "small.safetensors", "one.png", "two.png", "--set", "0=+1.5", "--set", "1=-1", "--seed", "3")
    assert output == "small-edit.png: originals, reconstructions, and edits of dimension 0 +1.5, 1 -1\n"
    assert shows("small-edit.png", edit_sheet(sampler, ["one.png", "two.png"], {0: 1.5, 1: -1.0}, seed=3))


def test_edit_to_a_value(run, sampler):
    output = run("edit", "small.safetensors", "one.png", "--set", "2=0.5", "--absolute", "--out", "e.png")
    assert output == "e.png: originals, reconstructions, and edits of dimension 2 = 0.5\n"
    assert shows("e.png", edit_sheet(sampler, "one.png", {2: 0.5}, absolute=True))


def test_edit_of_a_photo(run, sampler):
    photo = torch.rand(3, 218, 178)
    save_png(photo, "photo.png")
    arguments = ("--crop-side", "160", "--invert", "--steps", "4", "--seed", "3", "--set", "2=+1", "--out", "e.png")
    run("edit", "small.safetensors", "photo.png", *arguments)
    x = as_batch("photo.png", channels=1, resolution=64, crop=160)
    assert shows("e.png", edit_sheet(sampler, x, {2: 1.0}, codes=sampler.invert(x, steps=4, seed=3)))
    run("edit", "small.safetensors", "photo.png", "--crop", "--set", "2=+1", "--out", "f.png")
    assert shows("f.png", edit_sheet(sampler, "photo.png", {2: 1.0}, crop=True))


def test_edit_refuses(fail):
    assert "Missing option '--set'" in fail("edit", "small.safetensors", "one.png", code=2)
    assert "'0' is not DIMENSION=AMOUNT" in fail("edit", "small.safetensors", "one.png", "--set", "0", code=2)
    assert "dimension 0 is given twice" in fail(
        "edit", "small.safetensors", "one.png", "--set", "0=1", "--set", "0=2", code=2
    )
    assert "code dimension must be an integer from 0 to 2, got 9" in fail(
        "edit", "small.safetensors", "one.png", "--set", "9=1"
    )
