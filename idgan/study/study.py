"""The runs of a study: each is trained once, measured once, and found again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import idgan
from idgan.data import Dataset, open_dataset
from idgan.errors import InvalidInputError, RunMismatchError
from idgan.evaluation.measure import METRICS
from idgan.evaluation.results import RESULTS_FILE, measure_into, read_results
from idgan.files import sha256_of
from idgan.metrics import MetricResult
from idgan.networks import TwoStackVAEConfig
from idgan.recipes import Recipe, apply_method, defaults, describe, override, recipe_of
from idgan.sampler import Sampler
from idgan.study.scales import (
    FULL,
    GILBO,
    SAMPLES,
    SCALES,
    SHORT,
    STAGE_1_OF,
    SYNTHETIC,
    TINY,
    TWO_STAGE,
    VARIANCE_POINTS,
    ThinnedDataset,
)
from idgan.study.table import Cell, markdown_table
from idgan.training.checkpoint import differences, read_settings
from idgan.training.run import STAGE_1
from idgan.training.stage_1 import state_dict_sha256
from idgan.zoo.weights import CHECKPOINT_FILE, read_checkpoint

__all__ = ["Study", "check_run", "is_measurement_of"]

ADVICE = "Delete that directory to train it again, or choose another --out"


class Study:
    """Runs at one scale in one directory. `cell` trains and measures what is missing.

    Args:
        scale: "full" (the paper's budget), "short" (hours to days on a CPU) or "tiny" (seconds, for tests).
        out: directory of the runs. Scripts that use one directory share runs.
        seeds: one run for each.
        data: recipe or data set -> its files, for those that are not in the directory of prepared data.
        extractor: features of the Fréchet distance. None takes dsprites-convnet on synthetic sets and inception-v3 on
            others.
        train: False uses existing results, and trains and measures nothing.

    Attributes:
        absent: run directory -> what it would train, for each run that was asked for and does not exist.
        needed: the recipes whose data sets are read to train these runs and to measure all. Empty if `train` is True.
        extractors: the feature extractors that measure all. Empty if `train` is True.

    Raises:
        InvalidInputError: unknown scale.
    """

    def __init__(
        self,
        scale: str,
        out: str | Path,
        seeds: Sequence[int],
        data: Mapping[str, str | Path] | None = None,
        extractor: str | None = None,
        train: bool = True,
    ) -> None:
        if scale not in SCALES:
            raise InvalidInputError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
        self.scale = scale
        self.out = Path(out) / scale
        self.seeds = seeds
        self.data = dict(data or {})
        self.extractor = extractor
        self.train = train
        self.absent: dict[Path, Recipe] = {}
        self.needed: set[str] = set()
        self.extractors: set[str] = set()

    def files_of(self, name: str) -> str | Path | None:
        """The files of the data set of the recipe `name`. None are those in the directory of prepared data."""
        return self.data.get(name, self.data.get(str(recipe_of(name).data)))

    def open_data(self, name: str) -> Dataset:
        """The data set of the recipe `name`.

        Raises:
            DataError: the files are missing or wrong.
        """
        return open_dataset(recipe_of(name).data, self.files_of(name))

    def recipe(self, name: str, method: str, seed: int, settings: Mapping[str, Any] | None = None) -> Recipe:
        """The recipe of a run.

        The scale is applied to the recipe `name` before the method. All methods therefore share it, and a method keeps
        its own settings.
        """
        parent = recipe_of(name)
        scaled = {"full": FULL if name in SYNTHETIC else {}, "short": SHORT, "tiny": TINY}[self.scale]
        given = describe(parent)
        changes = {
            path: min(value, given[path]) if path.endswith("batch_size") else value
            for path, value in scaled.items()
            if path in given
        }
        parent = override(parent, changes | {"seed": seed})
        if method in TWO_STAGE and isinstance(parent.vae, TwoStackVAEConfig):
            baseline = apply_method(parent, "beta-vae")  # the encoder is that of a baseline, which has one stack
            parent = replace(parent, vae=baseline.vae, vae_stage=baseline.vae_stage)
        return override(apply_method(parent, method), settings or {})

    def run(self, name: str, method: str, seed: int, *, encoder: str = "beta-vae", **settings: Any) -> Path | None:
        """The run directory of `method` on the recipe `name`, trained if it is missing. None if it must not be trained.

        Args:
            encoder: method of the run that provides the VAE, for methods with two stages. It is a run of the recipe in
                `STAGE_1_OF`, if there is one.
            settings: settings with "__" for dots. A value that the recipe has already changes nothing.

        Raises:
            RunMismatchError: the existing run has other settings, or another encoder.
        """
        usual = describe(self.recipe(name, method, seed))
        changes = {path.replace("__", "."): value for path, value in settings.items()}
        changes = {path: value for path, value in changes.items() if usual.get(path) != value}
        recipe = self.recipe(name, method, seed, changes)
        label = [method]
        checkpoint, stage_1 = None, STAGE_1_OF.get(name, name)
        if method in TWO_STAGE:
            label.append(f"on-{encoder}")
            checkpoint = self.out / stage_1 / f"{encoder}-seed-{seed}" / CHECKPOINT_FILE
        label += [f"{path.split('.')[-1]}-{value:g}" for path, value in changes.items()]
        directory = self.out / name / f"{'-'.join(label)}-seed-{seed}"
        if (directory / CHECKPOINT_FILE).exists():
            check_run(directory, recipe, checkpoint)
            return directory
        vae = self.run(stage_1, encoder, seed) if method in TWO_STAGE else None
        if not self.train:
            self.absent[directory] = replace(recipe, vae_stage=None) if method in TWO_STAGE else recipe
            self.needed.add(name)
            return None
        idgan.train(recipe, directory, vae=vae, data=self.files_of(name), measure=False)
        return directory

    def sampler(self, name: str, method: str, seed: int, **options: Any) -> Sampler | None:
        """The model of a run, on the CPU. None if the run must not be trained. `options` are those of `run`."""
        run = self.run(name, method, seed, **options)
        return None if run is None else idgan.load(str(run), device="cpu")

    def measure(self, run: Path | None, name: str, metrics: Sequence[str]) -> dict[str, MetricResult]:
        """Metric -> result of a run, from its results.json or measured into it. Without those that are missing.

        Raises:
            RunMismatchError: the run was trained on another number of images.
        """
        extractor = self.extractor or ("dsprites-convnet" if name in SYNTHETIC else "inception-v3")
        if not self.train and any(METRICS[metric].on_features for metric in metrics):
            self.extractors.add(extractor)
        if run is None:
            return {}
        results_file, checkpoint = run / RESULTS_FILE, run / CHECKPOINT_FILE
        options: dict[str, Any] = {
            "samples": SAMPLES[self.scale],
            "extractor": extractor,
            "gilbo_options": GILBO[self.scale],
            "variance_points": VARIANCE_POINTS[self.scale],
        }
        if not self.train:
            self.needed.add(name)
            results = read_results(results_file, name, sha256_of(checkpoint))
            return {
                metric: result
                for metric in metrics
                for result in results
                if is_measurement_of(result, metric, **options)
            }
        sampler = idgan.load(str(run))
        dataset = self.open_data(name)
        images = sampler.record.images or len(dataset)
        if images != len(dataset):
            raise RunMismatchError(
                f"{run} was trained on {images:,} images, but the data set has {len(dataset):,}. {ADVICE}"
            )
        if self.scale == "tiny" and name in SYNTHETIC:
            dataset = ThinnedDataset(dataset)
        return dict(
            zip(metrics, measure_into(results_file, name, sha256_of(checkpoint), sampler, dataset, metrics, **options))
        )

    def cell(self, name: str, method: str, metrics: Sequence[str], **options: Any) -> dict[str, Cell]:
        """Metric -> seed -> result, for the seeds that have one. `options` are those of `run`."""
        results = {seed: self.measure(self.run(name, method, seed, **options), name, metrics) for seed in self.seeds}
        return {
            metric: {seed: result[metric] for seed, result in results.items() if metric in result} for metric in metrics
        }

    def table(self, rows: Mapping[str, Mapping[str, Cell]], columns: Sequence[str], title: str) -> str:
        """A Markdown table, see `markdown_table`."""
        seeds = ", ".join(map(str, self.seeds))
        return markdown_table(rows, columns, f"{title} ({self.scale}; seeds {seeds})", self.seeds)


def check_run(directory: Path, recipe: Recipe, encoder: Path | None = None) -> None:
    """Check that the finished run in `directory` is of `recipe`.

    Args:
        encoder: checkpoint that provided the VAE instead of stage 1. It is not compared if the file does not exist.

    Raises:
        RunMismatchError: it is another run. The message lists the differences. A setting that is newer than the run
            counts as its default.
    """
    current = json.loads(json.dumps(describe(recipe)))
    stored = read_settings(directory)
    if encoder is not None:
        current = {path: value for path, value in current.items() if not path.startswith(STAGE_1)}
        same = state_dict_sha256(read_checkpoint(encoder).vae) if encoder.exists() else stored.get("vae_sha256")
        current["vae_sha256"] = same

    def of_same_type(path: str) -> bool:
        kind = f"{path.rpartition('.')[0]}.type"
        return stored.get(kind) == current.get(kind)

    newer = {path: value for path, value in defaults(recipe).items() if path in current and of_same_type(path)}
    if changed := differences(newer | stored, current):
        raise RunMismatchError(f"{directory} was trained with other settings ({changed}). {ADVICE}")


def is_measurement_of(
    result: MetricResult,
    metric: str,
    *,
    samples: int,
    extractor: str,
    gilbo_options: Mapping[str, Any],
    variance_points: int | None = None,
) -> bool:
    """Whether `result` is of `metric` with these options. The size of the data set and the version are ignored."""
    request = result.details.get("request", {})
    wanted: dict[str, Any] = {"metric": metric, "seed": 0}
    if METRICS[metric].by_prior:
        wanted |= {"prior": "aggregated", "samples": samples}
    if metric == "gilbo":
        wanted |= gilbo_options
    ignored = ("data", "data_size", "content", "extractor", "idgan")
    if metric == "fvm" and "variance_points" in request:  # otherwise it is of the whole grid
        wanted["variance_points"] = variance_points
    found = {part: value for part, value in request.items() if part not in ignored}
    features = extractor if extractor.startswith("torchvision") else extractor.partition(":")[0]
    return found == wanted and (not METRICS[metric].on_features or request["extractor"].split()[0] == features)
