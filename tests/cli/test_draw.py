"""`sample`, `traverse`, `encode`, `reconstruct`, `edit`: each writes its file, and the file shows the right images."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import idgan
from idgan.cli import main
from idgan.figures import (
    code_grid_sheet,
    edit_sheet,
    interpolation_frames,
    interpolation_sheet,
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
    labels = ["seed 3", "seed 5", "seed 6"]
    assert shows("small-samples.png", sample_sheet(sampler, *map(torch.cat, zip(*codes)), labels=labels))


def test_sample_from_a_run_into_a_file(run, sampler, directory):
    run("sample", "runs/small", "--seeds", "0", "--prior", "normal", "--out", "deep/er/picture.png")
    assert shows("deep/er/picture.png", sample_sheet(sampler, *sampler.codes(1, 0, "normal"), labels=["seed 0"]))
    run("sample", "runs/small", "--seeds", "0")
    assert (directory / "small-samples.png").is_file()


def test_separate_images_do_not_depend_on_the_others(run, sampler, directory):
    (directory / "small-samples.png").mkdir()  # in the place of a sheet, which is not written
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
    labels = [f"seed {seed}" for seed in range(8)]
    assert shows("small-grid.png", code_grid_sheet(sampler, *map(torch.cat, zip(*codes)), labels))
    run("sample", "small.safetensors", "--grid", "--seeds", "4,9", "--out", "two.png")
    codes = [sampler.codes(1, seed) for seed in (4, 9)]
    assert shows("two.png", code_grid_sheet(sampler, *map(torch.cat, zip(*codes)), ["seed 4", "seed 9"]))


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
    message = "must end in .png or .jpg or .jpeg or .webp, got 'a.bmp'"
    assert message in fail("sample", "small.safetensors", "--out", "a.bmp", code=2)
    assert "device 'gpu' cannot be used here" in fail("sample", "small.safetensors", "--device", "gpu")
    assert "is not a whole safetensors file" in fail("sample", "one.png")
    assert "did you mean 'dsprites'" in fail("sample", "dsprits")
    (directory / "file").touch()
    assert "file/a.png: Not a directory" in fail("sample", "small.safetensors", "--out", "file/a.png", code=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "--out", "a.bmp"],
        ["sample", "--out", "runs"],
        ["sample", "--separate", "one.png"],
        ["traverse", "--out", "a.avi"],
        ["interpolate", "1", "2", "--out", "a.avi"],
        ["encode", "one.png", "--out", "one.png/codes.json"],
        ["reconstruct", "one.png", "--out", "a.bmp"],
        ["edit", "one.png", "--set", "0=1", "--out", "a.bmp"],
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
            assert np.array_equal(np.asarray(file.convert("L")), np.asarray(frame))


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
    assert "must end in .png" in fail("traverse", "small.safetensors", "--out", "a.avi", code=2)
    assert "does not exist" in fail("traverse", "small.safetensors", "--image", "none.png", code=2)
    assert "--align needs --image" in fail("traverse", "small.safetensors", "--align", code=2)
    assert "--crop needs --image" in fail("traverse", "small.safetensors", "--crop", code=2)
    assert "align (--align) needs a model of aligned faces" in fail(
        "traverse", "small.safetensors", "--image", "one.png", "--align"
    )


# ------------------------------------------------------------------ interpolate


def test_a_long_interpolation_is_an_animation(fail, directory):
    output = fail("interpolate", "small.safetensors", "3", "7", "--steps", "150", "--out", "a.webp", code=2)
    assert "a picture shows at most 100 steps, got 150; write .gif or .mp4" in output
    assert not (directory / "a.webp").exists()


def test_interpolate_goes_from_seed_to_seed(run, sampler):
    output = run("interpolate", "small.safetensors", "3", "7", "--steps", "4")
    assert output == "small-interpolation.png: from seed 3 to seed 7, 4 images; generator and VAE decoder\n"
    ends = [sampler.codes(1, seed) for seed in (3, 7)]
    assert shows("small-interpolation.png", interpolation_sheet(sampler, *ends, 4, ("seed 3", "seed 7")))


def test_interpolate_goes_from_image_to_seed(run, sampler):
    run("interpolate", "small.safetensors", "two.png", "7", "--steps", "3", "--seed", "2", "--out", "i.png")
    ends = [sampler.complete(sampler.encode("two.png"), seed=2), sampler.codes(1, 7)]
    assert shows("i.png", interpolation_sheet(sampler, *ends, 3, ("two.png", "seed 7")))
    run("interpolate", "small.safetensors", "one.png", "7", "--invert", "--steps", "3", "--out", "i.png")
    ends[0] = sampler.invert("one.png", seed=0)
    assert shows("i.png", interpolation_sheet(sampler, *ends, 3, ("one.png", "seed 7")))


def test_an_animated_interpolation_goes_there_and_back(run, sampler):
    output = run("interpolate", "small.safetensors", "3", "7", "--out", "i.gif")
    assert output == "i.gif: from seed 3 to seed 7, 30 images, forward and back\n"
    frames = interpolation_frames(sampler, *(sampler.codes(1, seed) for seed in (3, 7)), 30, ("seed 3", "seed 7"))
    with Image.open("i.gif") as file:
        assert file.n_frames == len(frames) == 58
        for index in (0, 20, 29):
            file.seek(index)
            assert np.array_equal(np.asarray(file.convert("L")), np.asarray(frames[index]))


def test_a_video_is_written_by_its_suffix(run):
    av = pytest.importorskip("av", reason="PyAV (the extra video) is not installed")
    run("interpolate", "small.safetensors", "3", "7", "--steps", "5", "--out", "i.mp4")
    run("traverse", "small.safetensors", "--steps", "3", "--out", "t.MP4")
    for path, count in ("i.mp4", 8), ("t.MP4", 4):
        with av.open(path) as video:
            assert len(list(video.decode(video=0))) == count


def test_interpolate_refuses(fail):
    assert "'none.png' is neither a seed nor an image file" in fail(
        "interpolate", "small.safetensors", "1", "none.png", code=2
    )
    assert "'-1'" in fail("interpolate", "small.safetensors", "1", "--", "-1", code=2)
    for option in ("--align", "--invert", "--crop"):
        assert f"{option} needs an image file as A or B" in fail(
            "interpolate", "small.safetensors", "1", "2", option, code=2
        )
    assert "align (--align) needs a model of aligned faces" in fail(
        "interpolate", "small.safetensors", "1", "one.png", "--align"
    )
    for face in ("0", "1,", "1,2,3", "left"):
        assert f"'{face}' is not N or N,M with numbers from 1 on, such as 1,2" in fail(
            "interpolate", "small.safetensors", "one.png", "two.png", "--align", "--face", face, code=2
        )
    assert "--face needs --align" in fail(
        "interpolate", "small.safetensors", "one.png", "two.png", "--face", "1,2", code=2
    )
    assert "1 is not in the range 2<=x<=1000" in fail(
        "interpolate", "small.safetensors", "1", "2", "--steps", "1", code=2
    )


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "webp"])
def test_pictures_are_written_by_their_suffix(run, sampler, suffix):
    run("traverse", "small.safetensors", "--steps", "3", "--out", f"t.{suffix}")
    with Image.open(f"t.{suffix}") as file:
        assert file.format == ("WEBP" if suffix == "webp" else "JPEG")
        error = np.asarray(file.convert("RGB")).astype(int) - np.asarray(traversal_sheet(sampler, steps=3))
        assert abs(error).mean() < 3


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


def test_encode_takes_folders_and_writes_a_file_each(run, directory):
    save_png(torch.rand(1, 64, 64), "photos/a.png")
    save_png(torch.rand(1, 64, 64), "photos/more/b.png")
    output = run("encode", "small.safetensors", "one.png", "photos", "--out", "codes")
    assert output.splitlines() == [f"codes/{name}.json: codes of 3 dimensions (1)" for name in ("one", "a", "more/b")]
    together = json.loads(run("encode", "small.safetensors", "one.png", "photos"))["codes"]
    assert [code["image"] for code in together] == ["one.png", "photos/a.png", "photos/more/b.png"]
    for code, name in zip(together, ("one", "a", "more/b")):
        alone = json.loads((directory / f"codes/{name}.json").read_text())["codes"]
        assert alone[0]["image"] == code["image"]
        assert alone[0]["mean"] == pytest.approx(code["mean"], abs=1e-5)


def test_a_bad_image_does_not_stop_the_others(directory):
    (directory / "page.png").write_text("<html>")
    Image.new("L", (64, 80)).save("tall.png")
    images = ("page.png", "one.png", "tall.png", "two.png")
    for command, out in (("encode", "{}.json"), ("reconstruct", "{}-reconstruction.png")):
        result = CliRunner().invoke(main, [command, "small.safetensors", *images, "--out", "results/"])
        assert result.exit_code == 1
        first, *_, last = result.stderr.splitlines()
        assert first.startswith("Failed: cannot read the image page.png: it is not an image")
        assert last == "Error: 2 of 4 images failed: page.png, tall.png"
        assert all((directory / "results" / out.format(name)).is_file() for name in ("one", "two"))
    result = CliRunner().invoke(main, ["encode", "small.safetensors", *images])
    assert [code["image"] for code in json.loads(result.stdout)["codes"]] == ["one.png", "two.png"]
    assert result.exit_code == 1


def test_results_never_mix_or_overwrite_images(run, fail, directory):
    for path in ("a/x.png", "b/x.png", "a/y.png"):
        save_png(torch.rand(1, 64, 64), path)
    Image.open("a/y.png").convert("RGB").save("a/y.jpg")
    error = fail("encode", "small.safetensors", "a", "b", "--out", "codes")
    assert "a/x.png and b/x.png would both be written to codes/x.png.json. Give them in separate calls" in error
    run("encode", "small.safetensors", "a", "--out", "codes")
    assert sorted(path.name for path in directory.glob("codes/*")) == ["x.json", "y.jpg.json", "y.png.json"]
    before = (directory / "one.png").read_bytes()
    error = fail("edit", "small.safetensors", "one.png", "--set", "0=1", "--out", "one.png")
    assert "one.png is one of the images, and would be overwritten. Choose another --out" in error
    assert (directory / "one.png").read_bytes() == before
    (directory / "empty").mkdir()
    assert "the folder empty has no images" in fail("encode", "small.safetensors", "empty")


@pytest.mark.parametrize("command", [("reconstruct",), ("edit", "--set", "0=1")])
@pytest.mark.parametrize(
    "out", ["photos", "photos/", "photos/more", "photos/new/deep", "./more/../photos", "link/new", "photos/sheet.png"]
)
def test_results_stay_out_of_the_folders_of_the_photos(fail, directory, command, out):
    """The next call would read the pictures there as photos."""
    for path in ("photos/a.png", "photos/more/b.png", "more/c.png"):
        save_png(torch.rand(1, 64, 64), path)
    (directory / "link").symlink_to("photos", target_is_directory=True)
    before = set(directory.rglob("*"))
    name, *options = command
    error = fail(name, "small.safetensors", "more", "photos", *options, "--out", out if "new" not in out else f"{out}/")
    assert error == (
        "Error: results would be written among the images of the folder photos. Choose an --out outside of it"
    )
    assert set(directory.rglob("*")) == before


def test_a_sheet_is_not_written_into_the_folder_of_the_photos_by_default(fail, directory, monkeypatch):
    save_png(torch.rand(1, 64, 64), "photos/a.png")
    monkeypatch.chdir(directory / "photos")
    assert "among the images of the folder ." in fail("reconstruct", "../small.safetensors", ".")


def test_codes_may_lie_among_the_photos(run, directory):
    save_png(torch.rand(1, 64, 64), "photos/a.png")
    run("encode", "small.safetensors", "photos", "--out", "photos")
    assert (directory / "photos/a.json").is_file()


def test_results_may_lie_beside_a_photo_that_was_given_itself_and_around_a_folder(run, fail, directory):
    save_png(torch.rand(1, 64, 64), "photos/a.png")
    run("encode", "small.safetensors", "photos/a.png", "--out", "photos")
    assert (directory / "photos/a.json").is_file()
    run("edit", "small.safetensors", "photos", "--set", "0=1", "--out", ".")
    assert (directory / "a-edit.png").is_file()
    save_png(torch.rand(1, 64, 64), "photos/photos/b.png")  # photos/b-edit.png would be its result
    assert "among the images" in fail("edit", "small.safetensors", "photos", "--set", "0=1", "--out", ".")


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


def test_a_tuned_generator_comes_closer(run, sampler):
    arguments = ("reconstruct", "small.safetensors", "one.png", "two.png", "--tune", "--steps", "12", "--seed", "2")
    output = run(*arguments, "--out", "r.png")
    inverted, tuned = (float(output.split(f"{name} ")[1].split()[0].rstrip(",")) for name in ("inverted", "tuned"))
    assert tuned > inverted
    x = as_batch(["one.png", "two.png"], channels=1, resolution=64)
    codes = sampler.invert(x, steps=12, seed=2)
    own = [sampler.tuned(*row, steps=12, seed=2) for row in zip(*(part.split(1) for part in (x, *codes)))]
    assert shows("r.png", reconstruction_sheet(sampler, x, seed=2, codes=codes, tuned=own))
    run("edit", "small.safetensors", "one.png", "two.png", *arguments[4:], "--set", "2=+1", "--out", "e.png")
    assert shows("e.png", edit_sheet(sampler, x, {2: 1.0}, codes=codes, tuned=own))


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


def test_edit_writes_a_picture_for_each_image(run, sampler):
    output = run("edit", "small.safetensors", "one.png", "two.png", "--set", "0=+1.5", "--out", "edits")
    assert output.splitlines() == [
        f"edits/{name}-edit.png: originals, reconstructions, and edits of dimension 0 +1.5" for name in ("one", "two")
    ]
    assert shows("edits/two-edit.png", edit_sheet(sampler, "two.png", {0: 1.5}))


def test_edit_refuses(fail):
    assert "align (--align) needs a model of aligned faces" in fail(
        "edit", "small.safetensors", "one.png", "--set", "0=1", "--align"
    )
    assert "--face needs --align" in fail("edit", "small.safetensors", "one.png", "--set", "0=1", "--face", "1", code=2)
    assert "--align finds the square, so it excludes --crop and --crop-side" in fail(
        "edit", "small.safetensors", "one.png", "--set", "0=1", "--align", "--crop", code=2
    )
    assert "Missing option '--set'" in fail("edit", "small.safetensors", "one.png", code=2)
    assert "'0' is not DIMENSION=AMOUNT" in fail("edit", "small.safetensors", "one.png", "--set", "0", code=2)
    assert "dimension 0 is given twice" in fail(
        "edit", "small.safetensors", "one.png", "--set", "0=1", "--set", "0=2", code=2
    )
    assert "code dimension must be an integer from 0 to 2, got 9" in fail(
        "edit", "small.safetensors", "one.png", "--set", "9=1"
    )
