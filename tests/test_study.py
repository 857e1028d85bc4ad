"""The commands of the paper's tables and figures, at the scale of seconds. They share their runs."""

import dataclasses
import json
import os
import re
import shutil

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import idgan.study
from idgan.cli import main
from idgan.data.prepare import prepare_images
from idgan.errors import RunMismatchError
from idgan.evaluation.results import read_results, write_results
from idgan.files import sha256_of
from idgan.images import save_png
from idgan.metrics import MetricResult
from idgan.networks import TwoStackVAEConfig, VAEConfig
from idgan.recipes import METHODS, apply_method, describe, recipe_of
from idgan.study.tables import WEIGHTS

pytestmark = pytest.mark.filterwarnings("ignore:this device has no bf16")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture
def command(out):
    """`command("table", "2", "--names", "dsprites")` runs a command and returns what it printed, or its error."""

    def run(*words, refused=False):
        result = CliRunner().invoke(main, [*words[:2], "--scale", "tiny", "--out", str(out), *words[2:]])
        assert result.exit_code == (1 if refused else 0), result.output
        return result.stderr if refused else result.stdout

    return run


@pytest.fixture
def module():
    """The library of the commands."""
    return idgan.study


@pytest.fixture
def study(module, out):
    """`study(seeds, **options)`: a `Study` of seconds, on the commands' directory unless another is given."""

    def make(seeds=(0,), out=out, **options):
        return module.Study("tiny", out, list(seeds), **options)

    return make


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """`pictures(n, resolution, kind)`: a directory of n prepared images."""

    def prepared(n, resolution=64, kind="folder"):
        directory = tmp_path_factory.mktemp("pictures")
        height, width = (218, 178) if kind == "celeba" else (resolution, resolution)
        for i in range(n):
            image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(i))
            save_png(image, directory / "raw" / f"{i}.png")
        prepare_images(kind, directory / "raw", directory / "prepared", resolution)
        return directory / "prepared"

    return prepared


def cells(printed):
    """Row label -> list of the cells' text, of a printed Markdown table."""
    rows = [
        [part.strip() for part in line.strip("|").split("|")] for line in printed.splitlines() if line.startswith("| ")
    ]
    return {label: values for label, *values in rows}


def stamps(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}


def test_table_2_and_again_without_training(command, out):
    empty = command("table", "2", "--results-only")
    assert (
        "Missing, in whole or in part: beta-VAE: fvm; beta-VAE: mig; beta-VAE: Fréchet distance; VAE-GAN: fvm" in empty
    )
    assert "Measured by" not in empty
    printed = command("table", "2")
    assert "Missing" not in printed
    table = cells(printed)
    assert table[""] == ["fvm", "mig", "FD-dsprites-convnet"]
    protocol = r"generator, dsprites-convnet v1 \(64x64.*\); 32 real vs 32 generated"
    protocol += r"; c from the aggregated posterior; n=32, seed 0"
    assert len(re.findall(rf"^- FD-dsprites-convnet: {protocol}$", printed, re.MULTILINE)) == 1
    assert list(table)[1:] == ["beta-VAE", "VAE-GAN", "ID-GAN, end to end", "ID-GAN, two steps"]
    assert all(re.fullmatch(r"-?[\d.e+-]+", value) for values in list(table.values())[1:] for value in values)
    assert table["ID-GAN, two steps"][:2] == table["beta-VAE"][:2]  # one encoder
    assert table["ID-GAN, two steps"][2] != table["beta-VAE"][2]
    before = stamps(out)
    assert command("table", "2") == printed == command("table", "2", "--results-only")
    assert stamps(out) == before
    assert (out / "tiny" / "table-2-dsprites.md").read_text() == printed


def test_table_3_stands_on_the_encoder_of_table_2(command, study, out):
    study().run("dsprites", "beta-vae", 0)
    before = stamps(out)
    printed = command("table", "3", "--names", "dsprites")
    table = cells(printed)
    assert table[""] == ["r_id", "gilbo", "FD-dsprites-convnet"]
    assert list(table)[1:] == ["without distillation", "cGAN", "ID-GAN"]
    assert all(value for values in table.values() for value in values[1:])
    assert {path: stamps(out)[path] for path in before} == before
    assert (
        "- gilbo: fresh encoder, Adam 0.001, batch 64, stopped after 1 checks of 1 steps within 0.01 nats; "
        "32 final images; c from" in printed
    )
    assert command("table", "3", "--names", "dsprites", "--results-only") == printed
    elsewhere = cells(
        command("table", "3", "--names", "dsprites", "--results-only", "--extractor", "efficientnet-lite0")
    )
    assert elsewhere["ID-GAN"] == [*table["ID-GAN"][:2], ""]


def test_seeds_are_told_apart_and_averaged(study, tmp_path):
    first = study(out=tmp_path).cell("dsprites", "vae", ["fid"])["fid"][0]
    both = study((0, 1), tmp_path)
    row = both.cell("dsprites", "vae", ["fid"])
    assert row["fid"][0] == first and list(row["fid"]) == [0, 1]
    a, b = (result.value for result in row["fid"].values())
    printed = both.table({"VAE": row}, ["fid"], "Two seeds")
    mean, deviation = map(float, cells(printed)["VAE"][0].split(" ± "))
    assert (mean, deviation) == (pytest.approx((a + b) / 2, rel=1e-3), pytest.approx(abs(a - b) / 2**0.5, rel=1e-2))
    more = study((0, 1, 7), tmp_path, train=False)
    printed = more.table({"VAE": more.cell("dsprites", "vae", ["fid"])}, ["fid"], "Two of three seeds")
    assert (
        re.search(r"\| VAE \| [\d.]+ ± [\d.]+ \(n=2\) \|", printed)
        and "Missing, in whole or in part: VAE: FD-dsprites-convnet." in printed
    )


def test_only_what_was_measured_so_is_tabulated(study, tmp_path):
    trains, reads = study(out=tmp_path), study(out=tmp_path, train=False)
    metrics = ["mig", "fid"]
    cell = trains.cell("dsprites", "vae", metrics)
    run = trains.run("dsprites", "vae", 0)
    sha256 = sha256_of(run / "model.safetensors")
    mig, fid = read_results(run / "results.json", "dsprites", sha256)
    assert reads.cell("dsprites", "vae", metrics) == cell == {"mig": {0: mig}, "fid": {0: fid}}

    def other(result, **request):
        return dataclasses.replace(result, value=-1.0, details={"request": result.details["request"] | request})

    def read(*results, sha256=sha256):
        write_results(run / "results.json", "dsprites", sha256, results)
        return reads.cell("dsprites", "vae", metrics)

    assert read(mig, fid, other(fid, prior="normal"), other(fid, extractor="inception-v3 (299x299)")) == cell
    for request in {"prior": "normal"}, {"samples": 31}, {"seed": 1}, {"extractor": "dsprites-convnet-2 v1 (64x64)"}:
        assert read(mig, other(fid, **request)) == {"mig": {0: mig}, "fid": {}}
    assert read(dataclasses.replace(mig, details={}), fid) == {"mig": {}, "fid": {0: fid}}
    assert read(mig, fid, sha256="00ff") == {"mig": {}, "fid": {}}


def test_gilbo_of_another_rule_is_not_tabulated(module):
    rule = module.GILBO["short"]
    request = {
        "metric": "gilbo",
        "seed": 0,
        "data": "dsprites",
        "data_size": 5,
        "prior": "aggregated",
        "samples": 50,
        **rule,
        "idgan": "0",
    }
    result = MetricResult("gilbo", 1.0, "", 50, 0, details={"request": request})
    options = {"samples": 50, "extractor": "dsprites-convnet"}
    assert module.is_measurement_of(result, "gilbo", gilbo_options=rule, **options)
    for other in rule | {"patience": 3}, {}, {"samples": 2000}:
        assert not module.is_measurement_of(result, "gilbo", gilbo_options=other, **options)


def test_fvm_with_the_variance_of_other_points_is_not_tabulated(module):
    request = {"metric": "fvm", "seed": 0, "data": "dsprites", "idgan": "0"}
    options = {"samples": 50, "extractor": "dsprites-convnet", "gilbo_options": {}}

    def tabulated(asked, **of_result):
        result = MetricResult("fvm", 1.0, "", 50, 0, details={"request": request | of_result})
        return module.is_measurement_of(result, "fvm", variance_points=asked, **options)

    assert tabulated(None) and tabulated(60) and tabulated(60, variance_points=60)
    assert not tabulated(None, variance_points=60) and not tabulated(50, variance_points=60)


# ------------------------------------------------------------------ runs that are found again


def test_a_run_of_other_settings_is_refused(study, module, tmp_path, monkeypatch):
    run = study(out=tmp_path).run("dsprites", "vae", 0)
    settings = json.loads((run / "recipe.json").read_text())
    (run / "recipe.json").write_text(
        json.dumps({path: value for path, value in settings.items() if path != "vae_stage.accumulation_steps"})
    )
    for trains in (True, False):
        assert study(out=tmp_path, train=trains).run("dsprites", "vae", 0) == run  # of a version without that setting
    monkeypatch.setitem(module.TINY, "vae_stage.steps", 3)
    says = r"vae-seed-0 was trained with other settings \(vae_stage.steps: 2 stored, 3 now\). "
    says += r"Delete that directory .* --out"
    for trains in (True, False):
        with pytest.raises(RunMismatchError, match=says):
            study(out=tmp_path, train=trains).run("dsprites", "vae", 0)
    monkeypatch.undo()
    (run / "recipe.json").write_text(json.dumps(describe(apply_method(recipe_of("dsprites"), "capacity-vae"))))
    says = "vae_stage.objective.beta: None stored, 1.0 now; .*type: 'CapacityVAEConfig' stored, 'BetaVAEConfig' now"
    with pytest.raises(RunMismatchError, match=says):
        module.Study("tiny", tmp_path, [0]).run("dsprites", "vae", 0)


def test_a_run_on_another_encoder_is_refused(study, out, tmp_path):
    made = study()
    runs = {method: made.run("dsprites", method, 0) for method in ("id-gan", "beta-vae", "vae")}
    for run in runs["id-gan"], runs["beta-vae"]:
        shutil.copytree(run, tmp_path / "tiny" / "dsprites" / run.name)
    copied = study(out=tmp_path, train=False)
    assert copied.run("dsprites", "id-gan", 0) == tmp_path / "tiny" / "dsprites" / runs["id-gan"].name
    encoder = tmp_path / "tiny" / "dsprites" / runs["beta-vae"].name
    shutil.copy(runs["vae"] / "model.safetensors", encoder)
    with pytest.raises(
        RunMismatchError,
        match=r"id-gan-on-beta-vae-seed-0 was trained with other settings \(vae_sha256: '\w+' stored, '\w+' now\)",
    ):
        copied.run("dsprites", "id-gan", 0)
    shutil.rmtree(encoder)
    assert copied.run("dsprites", "id-gan", 0).exists() and not encoder.exists()


def test_methods_of_a_scale_share_what_does_not_define_them(module, tmp_path):
    full = {method: describe(module.Study("full", tmp_path, [0]).recipe("dsprites", method, 5)) for method in METHODS}
    for method, settings in full.items():
        rates = {value for path, value in settings.items() if path.endswith("optimizers.vae.lr")}
        own_rate = {"gan": set(), "infogan": set(), "growing-vae": {1e-3}}
        assert rates == own_rate.get(method, {1e-4})
        assert {value for path, value in settings.items() if path.endswith("r1_interval")} <= {
            8 if method in ("projected", "reconstructing") else 1
        }
        assert (
            settings.get("vae_stage.steps", 500_000) == 500_000 and settings.get("gan_stage.steps", 300_000) == 300_000
        )
        assert settings["seed"] == 5
    weights = {method: settings.get("gan_stage.objective.id_weight") for method, settings in full.items()}
    assert {method: weight for method, weight in weights.items() if weight is not None} == {
        "id-gan": 1e-4,
        "without-distillation": 0.0,
        "cgan": 0.0,
        "projected": 0.2,
        "reconstructing": 0.2,
        "end-to-end": 1e-4,
        "infogan": 1e-4,
    }


@pytest.mark.parametrize("method", ["id-gan", "without-distillation", "cgan", "beta-vae", "growing-vae", "infogan"])
def test_on_scream_dsprites_too_each_method_gets_networks_that_fit(module, tmp_path, method):
    """Its recipe has an encoder of two stacks. In a study, encoders come from baselines, which have one."""
    study = module.Study("short", tmp_path, [0], {})
    recipe = study.recipe("scream-dsprites", method, 0)
    assert type(recipe.vae) is (TwoStackVAEConfig if method == "growing-vae" else VAEConfig)
    vae = recipe.build("vae")
    for stage in recipe.stages:
        networks = [recipe.build("generator"), recipe.build("discriminator")] if stage == "gan" else []
        assert recipe.build_objective(stage, vae, *networks)


def test_recipes_of_natural_images_are_trained_as_published_at_full_scale(module, tmp_path):
    for name in ("celeba-64", "celeba-64-w16"):
        assert module.Study("full", tmp_path, [0]).recipe(name, "id-gan", 0) == recipe_of(name)


# ------------------------------------------------------------------ more tables and figures


def test_table_1_and_figure_3(command, out):
    printed = command("table", "1", "--names", "dsprites")
    table = cells(printed)
    assert table["GAN"][:2] == ["", ""] and table["GAN"][2]
    assert "Missing" not in printed  # a GAN has no code
    assert table["ID-GAN on beta-VAE"][:2] == table["beta-VAE"][:2] != table["ID-GAN on Factor-VAE"][:2]
    before = stamps(out)
    command("figure", "3", "--names", "dsprites")
    assert stamps(out) == before
    for metric in ("fvm", "mig"):
        assert Image.open(out / "tiny" / f"figure-3-{metric}.png").width > 200


def test_infogan_has_the_weight_with_which_it_disentangles_best(command, study, out):
    printed = command("table", "1", "--names", "dsprites")
    (label,) = [label for label in cells(printed) if label.startswith("InfoGAN, lambda ")]
    scores = {}
    for weight in WEIGHTS:
        row = study(train=False).cell("dsprites", "infogan", ["fvm", "mig"], gan_stage__objective__id_weight=weight)
        scores[weight] = row["fvm"][0].value + row["mig"][0].value
    assert scores[float(label.removeprefix("InfoGAN, lambda "))] == max(scores.values())


def test_figure_a10_trains_a_run_for_each_weight(command, out):
    printed = command("figure", "a10", "--names", "dsprites")
    assert printed.split() == [str(out / "tiny" / "figure-A.10.png")]
    for method in "id-gan-on-beta-vae", "infogan":
        runs = {path.name for path in (out / "tiny" / "dsprites").glob(f"{method}-id_weight-*")}
        assert runs == {f"{method}-id_weight-{weight:g}-seed-0" for weight in WEIGHTS}
    trained = json.loads((out / "tiny" / "dsprites" / "infogan-id_weight-0.1-seed-0" / "recipe.json").read_text())
    assert trained["gan_stage.objective.id_weight"] == 0.1


def test_table_4_and_figure_8_on_a_folder_of_images(command, out, pictures):
    options = ["--names", "celeba-64", "--data", str(pictures(6))]
    printed = command("table", "4", *options, "--extractor", "dsprites-convnet")
    assert list(cells(printed))[1:] == ["VAE", "beta-VAE", "Factor-VAE", "GAN", "InfoGAN", "ID-GAN"]
    assert all(values[0] for values in cells(printed).values())
    assert "- FD-dsprites-convnet: generator, dsprites-convnet v1" in printed
    before = stamps(out)
    command("figure", "8", *options[:2], f"--data={out / 'nowhere'}")  # finished runs are drawn without their data
    assert stamps(out) == before
    with Image.open(out / "tiny" / "figure-8-celeba-64-seed-0.png") as picture:
        assert 6 * 128 < picture.width < 1000
    other = ["--names", "celeba-64", "--data", str(pictures(7)), "--extractor", "dsprites-convnet"]
    error = command("table", "4", *other, refused=True)
    assert "was trained on 6 images, but the data set has 7. Delete that directory" in error


def test_a_figure_without_runs_writes_nothing_and_says_what_is_missing(tmp_path):
    words = ["figure", "8", "--names", "celeba-64", "--scale", "tiny", "--out", str(tmp_path), "--results-only"]
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, result.stdout) == (0, "")
    runs = [line.rpartition("/")[2] for line in result.stderr.splitlines()]
    assert runs == ["beta-vae-seed-0", "id-gan-on-beta-vae-seed-0"]
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("words", [("table", "5"), ("figure", "A.11"), ("figure", "A")])
def test_an_unknown_number_is_refused_with_the_known_ones(words):
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 2 and "is not one of" in result.output and "4" in result.output


# ------------------------------------------------------------------ natural images of all sizes


@pytest.mark.parametrize("name", ["celeba-128", "celeba-256", "celebahq-1024"])
def test_the_encoder_of_large_images_is_that_of_celeba_64(study, tmp_path, name):
    made = study(out=tmp_path, train=False)
    assert made.run(name, "id-gan", 0) is None
    runs = [path.relative_to(tmp_path / "tiny").as_posix() for path in made.absent]
    assert runs == ["celeba-64/beta-vae-seed-0", f"{name}/id-gan-on-beta-vae-seed-0"]
    vae, gan = made.absent.values()
    assert [*vae.stages, *gan.stages] == ["vae", "gan"] and vae.vae == gan.vae


LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in ("celeba-256", "celebahq-1024")]


@pytest.mark.parametrize("name", ["celeba-64", "chairs-64", "cars-64", "celeba-128", *LARGE])
def test_the_two_step_systems_train_on_natural_images_of_each_set(study, tmp_path, pictures, name):
    """The row of Table 3 that ID-GAN has, and the runs of Figure 8, for each natural set."""
    resolution = recipe_of(name).generator.resolution
    data = {name: pictures(4, resolution), "celeba-64": pictures(4)}
    made = study(out=tmp_path, data=data, extractor="dsprites-convnet")
    assert made.sampler(name, "id-gan", 0).resolution == resolution
    stored = json.loads((made.run(name, "id-gan", 0) / "recipe.json").read_text())
    assert "vae_sha256" in stored and "vae_stage.steps" not in stored


@pytest.mark.slow
@pytest.mark.parametrize("name", ["celeba-128"])
def test_table_3_of_large_images(command, tmp_path, pictures, name):
    data = [f"--data={name}={pictures(4, recipe_of(name).generator.resolution)}", f"--data=celeba-64={pictures(4)}"]
    words = ["--names", name, "--extractor", "dsprites-convnet", "--out", str(tmp_path)]
    table = cells(command("table", "3", *words, *data))
    assert all(value for values in table.values() for value in values[1:])


def test_a_directory_needs_the_name_of_its_set_where_there_are_several(tmp_path):
    words = ["table", "4", "--scale", "tiny", "--out", str(tmp_path), "--names", "chairs-64,cars-64"]
    result = CliRunner().invoke(main, [*words, "--data", "there"])
    assert result.exit_code == 2
    assert "'there' does not say which data set it holds; use NAME=there with one of chairs-64, cars-64" in " ".join(
        result.output.split()
    )
    result = CliRunner().invoke(main, [*words, "--data", "boats=there"])
    assert "'boats' is not one of chairs-64, cars-64" in " ".join(result.output.split())


def test_images_of_another_set_are_refused(command, tmp_path, pictures):
    """Table 4 once printed chairs and cars that were measured on CelebA."""
    celeba = pictures(4, 64, "celeba")
    data = [f"--data={name}={celeba}" for name in ("chairs-64", "cars-64")]
    error = command("table", "4", "--names", "chairs-64,cars-64", *data, "--out", str(tmp_path), refused=True)
    assert "holds images of celeba, but the data set is cars-64" in error


LATER = [
    ("figure", "4", "celeba-64,cars-64"),
    ("figure", "A.10", "celeba-64,cars-64"),
    ("table", "1", "celeba-64,cars-64"),
    ("table", "4", "celeba-64,cars-64"),
    ("figure", "5", "celeba-128"),  # its encoder learns from celeba-64
]


@pytest.mark.parametrize("kind, number, names", LATER)
def test_every_data_set_is_opened_before_the_first_training(command, tmp_path, pictures, kind, number, names):
    """The data set that is needed last is missing."""
    missing, out = names.rpartition(",")[2], tmp_path / "study"
    data = [f"--data=celeba-64={pictures(4)}", f"--data={missing}={tmp_path / 'nowhere'}"]
    error = command(kind, number, "--names", names, *data, "--out", str(out), refused=True)
    assert error == f"Error: {tmp_path / 'nowhere'} does not exist\n"
    assert not out.exists()


@pytest.mark.parametrize(
    "kind, number, names",
    [
        ("table", "1", "dsprites"),
        ("table", "3", "dsprites"),
        ("table", "4", "celeba-64"),
        ("figure", "A.10", "dsprites"),
    ],
)
def test_the_feature_extractor_is_opened_before_the_first_training(command, tmp_path, pictures, kind, number, names):
    pytest.importorskip("torch_fidelity", reason="its Inception network")
    out, weights = tmp_path / "study", tmp_path / "weights.pth"
    data = [f"--data=celeba-64={pictures(4)}"] if names == "celeba-64" else []
    words = [kind, number, "--names", names, *data, "--extractor", f"inception-v3:{weights}", "--out", str(out)]
    error = command(*words, refused=True)
    assert error.startswith(f"Error: {weights} does not hold the Inception V3 weights of FID")
    assert not out.exists()


def test_the_default_extractor_is_opened_before_the_first_training(command, tmp_path, pictures, monkeypatch):
    """No weights are in PyTorch's cache, and they cannot be stored there."""
    pytest.importorskip("torch_fidelity", reason="its Inception network")
    (tmp_path / "file").touch()
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "file"))
    out = tmp_path / "study"
    words = ["table", "4", "--names", "celeba-64", "--data", str(pictures(4)), "--out", str(out)]
    assert "could not be downloaded" in command(*words, refused=True)
    assert not out.exists()


def test_what_a_dry_run_prints(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0), raising=False)  # or it tells of other programs
    words = ["table", "2", "--scale", "short", "--out", str(tmp_path), "--dry-run"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    *runs, count = result.stdout.splitlines()
    assert count == "4 runs are missing"
    assert [run.rpartition("/")[2] for run in runs] == [
        "beta-vae-seed-0",
        "vae-gan-seed-0",
        "end-to-end-seed-0",
        "id-gan-on-beta-vae-seed-0",
    ]
    assert re.fullmatch(
        r"measuring the speed of a training step \.\.\.\n"
        r"4 runs to train at scale short: about [\d.]+ (seconds|minutes|hours|days) on this cpu by its measured speed, "
        r"without metrics\n",
        result.stderr,
    )
    assert not any(tmp_path.iterdir())


def test_a_dry_run_of_table_1_counts_the_runs_that_will_be_trained(module, tmp_path):
    """Five of InfoGAN with the first seed, and the chosen one with the second."""
    study = module.Study("tiny", tmp_path, [0, 1], train=False)
    (_,) = module.TABLES["1"][0](study, ["noisy-dsprites"])
    runs = [path.name for path in study.absent if path.name.startswith("infogan")]
    assert len(runs) == len(WEIGHTS) + 1
    assert sum(run.endswith("seed-1") for run in runs) == 1


def test_a_small_batch_of_a_recipe_stays_small(module, tmp_path):
    recipe = module.Study("short", tmp_path, [0]).recipe("celebahq-1024", "id-gan", 0)
    assert recipe.gan_stage.batch_size == 1
    assert recipe.generator.base_width == recipe.discriminator.base_width == 16


def test_a_run_on_another_s_encoder_is_found_whatever_its_recipe_s_stage_1_starts_from(module, tmp_path):
    recipe = dataclasses.replace(recipe_of("noisy-dsprites"), init_vae_from="color-dsprites")
    of_stage_1 = ("vae_stage.", "init_vae_from")
    settings = {path: value for path, value in describe(recipe).items() if not path.startswith(of_stage_1)} | {
        "vae_sha256": "0" * 64
    }
    (tmp_path / "recipe.json").write_text(json.dumps(settings))
    module.check_run(tmp_path, recipe, tmp_path / "gone.safetensors")
    with pytest.raises(RunMismatchError, match="seed"):
        module.check_run(tmp_path, dataclasses.replace(recipe, seed=9), tmp_path / "gone.safetensors")
