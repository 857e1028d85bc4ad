"""What the scripts of tables and figures share: every cell is a run, trained once and measured once, kept, and found again."""

import argparse
import json
import statistics
from pathlib import Path

import torch

import idgan
from idgan.data import open_dataset
from idgan.errors import RunMismatchError
from idgan.evaluation.grid_codes import thinned_grid
from idgan.evaluation.measure import METRICS
from idgan.evaluation.results import measure_into, read_results
from idgan.files import sha256_of, write_atomically
from idgan.recipes import apply_method, defaults, describe, override, recipe_of
from idgan.training.checkpoint import differences, read_settings
from idgan.training.run import STAGE_1
from idgan.training.stage_1 import state_dict_sha256
from idgan.zoo.weights import CHECKPOINT_FILE, read_checkpoint

SYNTHETIC = ("dsprites", "color-dsprites", "noisy-dsprites", "scream-dsprites")
TWO_STEP = ("id-gan", "without-distillation", "cgan")
"""Methods whose stage 2 builds on the encoder of another run."""
SHORT = {
    "vae_stage.steps": 3000,
    "gan_stage.steps": 3000,
    "vae_stage.batch_size": 32,
    "gan_stage.batch_size": 32,
    "vae_stage.select_every": 0,
}
TINY = {
    "vae_stage.steps": 2,
    "gan_stage.steps": 2,
    "vae_stage.batch_size": 4,
    "gan_stage.batch_size": 4,
    "vae_stage.select_every": 0,
    "generator.base_width": 2,
    "generator.max_width": 8,
    "discriminator.base_width": 2,
    "discriminator.max_width": 8,
    "bank_size": 16,
}
FULL = {
    "vae_stage.steps": 500_000,
    "vae_stage.optimizers.vae.lr": 1e-4,
    "vae_stage.select_every": 0,
    "gan_stage.steps": 300_000,
    "gan_stage.objective.id_weight": 1e-4,
    "gan_stage.objective.r1_interval": 1,
}
"""The paper's budget and settings on the synthetic sets, whose recipes train for less. What stays the recipes': Adam(0, 0.99) in stage 2, where
the paper has RMSprop; bf16 on devices that have it; and of Noisy- and Scream-dSprites the learning rates of stage 2 and the generator's initial
weights. The recipes of natural images have their budget and settings already, but for celeba-64-w16, which is a smaller model and is trained by
its own."""
SAMPLES = {"full": 50_000, "short": 10_000, "tiny": 32}
"""Images behind a Fréchet distance."""
GILBO = {
    "full": {},
    "short": {"samples": 2000, "check_every": 250, "patience": 2, "tolerance": 0.05, "learning_rates": [1e-3]},
    "tiny": {"samples": 32, "check_every": 1, "patience": 1, "learning_rates": [1e-3]},
}
"""The stopping rule of GILBO, where it is not that of `idgan evaluate`."""

WAYS_OUT = "Delete that directory to train it anew, or choose another --out"
EMPTY = {"fid": "Fréchet distance"}
"""What the column of a metric is called where no result says it."""


class Thinned:
    """A data set with factors, at no more than three values of each: metrics of it take seconds, and say nothing."""

    def __init__(self, dataset):
        self.dataset = dataset
        self.factors, self.indices = thinned_grid(dataset.factors, max_values=3)

    def __getattr__(self, name):
        return getattr(self.dataset, name)

    def __len__(self):
        return len(self.indices)

    def images(self, indices, *draws):
        return self.dataset.images(self.indices.to(indices.device)[indices], *draws)


class Study:
    """Runs at one scale, under one directory: `cell` trains and measures what is not there yet.

    Args:
        scale: "full" (the paper's budget), "short" (minutes to hours on a CPU) or "tiny" (seconds: to see that it works).
        out: directory of all runs of all scripts; they share what they have in common.
        seeds: a run for each.
        data: directory or file of the data, for sets that need one.
        train: False tabulates what is there, and trains and measures nothing.
    """

    def __init__(self, scale, out, seeds, data=None, extractor=None, train=True):
        self.scale = scale
        self.out = Path(out) / scale
        self.seeds = seeds
        self.data = data
        self.extractor = extractor
        self.train = train

    def recipe(self, name, method, seed, more=None):
        """The recipe of a run: that of the data set `name` at this scale, made that of `method`, with the settings `more`.

        The scale is the parent's, so that what methods share stays equal, and what defines one stays as it is.
        """
        parent = recipe_of(name)
        scaled = {"full": FULL if name in SYNTHETIC else {}, "short": SHORT, "tiny": TINY}[self.scale]
        known = describe(parent)
        parent = override(parent, {path: value for path, value in scaled.items() if path in known} | {"seed": seed})
        return override(apply_method(parent, method), more or {})

    def run(self, name, method, seed, *, encoder="beta-vae", **more):
        """The run directory of `method` on the data set `name`, trained if it has not been; None if it must not be.

        Two-step methods take stage 1 from the run of the method `encoder`. `more`: settings, with "__" for dots; one that is the recipe's own
        makes no other run.

        Raises:
            RunMismatchError: the run that is there was trained by other settings, or on another encoder than the one that is there.
        """
        usual = describe(self.recipe(name, method, seed))
        more = {path.replace("__", "."): value for path, value in more.items()}
        more = {path: value for path, value in more.items() if usual.get(path) != value}
        recipe = self.recipe(name, method, seed, more)
        on = encoder if method in TWO_STEP else None
        label = "-".join(
            [
                method,
                *([f"on-{on}"] if on else []),
                *(f"{path.split('.')[-1]}-{value:g}" for path, value in more.items()),
            ]
        )
        directory = self.out / name / f"{label}-seed-{seed}"
        if (directory / CHECKPOINT_FILE).exists():
            check(directory, recipe, on and self.out / name / f"{on}-seed-{seed}" / CHECKPOINT_FILE)
        elif self.train:
            idgan.train(recipe, directory, vae=self.run(name, on, seed) if on else None, data=self.data, measure=False)
        else:
            return None
        return directory

    def measure(self, run, name, metrics):
        """Metric name -> `MetricResult` of a run, from its results.json or measured into it; without those that are not there."""
        if run is None:
            return {}
        kept, checkpoint = run / "results.json", run / CHECKPOINT_FILE
        extractor = self.extractor or ("dsprites-convnet" if name in SYNTHETIC else "inception-v3")
        options = {"samples": SAMPLES[self.scale], "extractor": extractor, "gilbo_options": GILBO[self.scale]}
        if not self.train:
            results = read_results(kept, name, sha256_of(checkpoint))
            return {metric: result for metric in metrics for result in results if answers(result, metric, **options)}
        sampler, dataset = idgan.load(str(run)), open_dataset(recipe_of(name).data, self.data)
        images = sampler.record.images or len(dataset)
        if images != len(dataset):
            raise RunMismatchError(f"{run} was trained on {images:,} images, and here are {len(dataset):,}. {WAYS_OUT}")
        if self.scale == "tiny" and name in SYNTHETIC:
            dataset = Thinned(dataset)
        return dict(zip(metrics, measure_into(kept, name, sha256_of(checkpoint), sampler, dataset, metrics, **options)))

    def cell(self, name, method, metrics, **options):
        """Metric name -> seed -> `MetricResult`, for those seeds that have one."""
        results = {seed: self.measure(self.run(name, method, seed, **options), name, metrics) for seed in self.seeds}
        return {
            metric: {seed: result[metric] for seed, result in results.items() if metric in result} for metric in metrics
        }

    def table(self, rows, columns, title):
        """Print, and return, a Markdown table, with what is missing and how its values were measured below.

        Args:
            rows: row label -> column label -> seed -> `MetricResult`. A column that a row does not have is not missing there.
            columns: column labels, in order. Of a metric the heading is what its results are called.
        """
        headings = {
            column: called(column, [row[column] for row in rows.values() if column in row]) for column in columns
        }
        lines = [f"{title} ({self.scale}; seeds {', '.join(map(str, self.seeds))})", ""]
        lines += [f"| | {' | '.join(headings.values())} |", "|---" * (len(columns) + 1) + "|"]
        lines += [
            f"| {label} | {' | '.join(entry(row.get(column, {}), len(self.seeds)) for column in columns)} |"
            for label, row in rows.items()
        ]
        missing = [
            f"{label}: {headings[column]}"
            for label, row in rows.items()
            for column in row
            if len(row[column]) < len(self.seeds)
        ]
        if missing:
            lines += ["", f"Missing, in whole or in part: {'; '.join(missing)}."]
        measured = [result for column in columns for row in rows.values() for result in row.get(column, {}).values()]
        if measured:
            said = dict.fromkeys(
                f"{result.name}: {result.protocol}; n={result.samples}, seed {result.seed}" for result in measured
            )
            lines += ["", "Measured by", "", *(f"- {line}" for line in said)]
        text = "\n".join(lines)
        write_atomically(self.out / f"{title.split(':')[0].replace(' ', '-').lower()}.md", text + "\n")
        print(text)
        return text


def check(directory, recipe, encoder=None):
    """Raise RunMismatchError unless the finished run in `directory` is of `recipe`, on the VAE of the checkpoint `encoder` if it is on another's.

    A setting that a part of the run does not tell, for it is older than the setting, had its default. An encoder that is not there is not compared.
    """
    here = json.loads(json.dumps(describe(recipe)))
    there = read_settings(directory)
    if encoder is not None:
        here = {path: value for path, value in here.items() if not path.startswith(STAGE_1)}
        here["vae_sha256"] = (
            state_dict_sha256(read_checkpoint(encoder).vae) if encoder.exists() else there.get("vae_sha256")
        )
    alike = {path for path in here if there.get(kind := f"{path.rpartition('.')[0]}.type") == here.get(kind)}
    there = {path: value for path, value in defaults(recipe).items() if path in alike} | there
    if changed := differences(there, here):
        raise RunMismatchError(f"{directory} was trained by other settings ({changed}). {WAYS_OUT}")


def answers(result, metric, *, samples, extractor, gilbo_options):
    """Whether `result` is of `metric` measured so; how much data there was and which version measured it are not looked at."""
    request = result.details.get("request", {})
    wanted = {"metric": metric, "seed": 0} | ({"prior": "aggregated", "samples": samples} if METRICS[metric].by_prior else {})
    wanted |= gilbo_options if metric == "gilbo" else {}
    found = {
        part: value
        for part, value in request.items()
        if part not in ("data", "data_size", "content", "extractor", "idgan")
    }
    features = extractor if extractor.startswith("torchvision") else extractor.partition(":")[0]
    return found == wanted and (not METRICS[metric].on_features or request["extractor"].split()[0] == features)


def called(column, cells):
    """What the results in `cells` of a metric are called, such as FD-dsprites-convnet; the label of a column that is no metric, or is empty."""
    names = dict.fromkeys(result.name for cell in cells for result in cell.values())
    return " / ".join(names) if names and column in METRICS else EMPTY.get(column, column)


def points(label, x, y):
    """(label, x, y) of each seed that both cells have."""
    return [(label, x[seed].value, y[seed].value) for seed in x if seed in y]


def entry(cell, seeds):
    """Mean and standard deviation as text, with the number of values where it is not that of the seeds."""
    if not cell:
        return ""
    values = [result.value for result in cell.values()]
    spread = f" ± {statistics.stdev(values):.3g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{spread}" + (f" (n={len(values)})" if len(values) < seeds else "")


def arguments(description, names):
    """The command line that the scripts share: (`Study`, data sets)."""
    parser = argparse.ArgumentParser(description=description)
    default = "full" if torch.cuda.is_available() else "short"
    parser.add_argument(
        "--scale",
        choices=["full", "short", "tiny"],
        default=default,
        help=f"budget: the paper's, one CPU's, seconds [{default}]",
    )
    parser.add_argument("--seeds", default="0", help="a run for each, such as 0,1,2 [0]")
    parser.add_argument(
        "--names", default=",".join(names), help=f"data sets, by the names of their recipes [{','.join(names)}]"
    )
    parser.add_argument("--data", help="where the data set's files are, for those that have any")
    parser.add_argument("--extractor", help="features of the Fréchet distance; see idgan evaluate --help")
    parser.add_argument(
        "--out", default="runs/study", help="directory of the runs; what is there is not made again [runs/study]"
    )
    parser.add_argument(
        "--table-only", action="store_true", help="tabulate what is there: train nothing, measure nothing"
    )
    parsed = parser.parse_args()
    seeds = [int(seed) for seed in parsed.seeds.split(",")]
    study = Study(parsed.scale, parsed.out, seeds, parsed.data, parsed.extractor, train=not parsed.table_only)
    return study, parsed.names.split(",")
