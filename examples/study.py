"""What the scripts of tables and figures share: every cell is a run, trained once and measured once, kept, and found again."""

import argparse
import json
import statistics
from pathlib import Path

import torch

import idgan
from idgan.data import open_dataset
from idgan.files import write_atomically
from idgan.recipes import as_system, describe, recipe_of
from idgan.training.evaluation import Subject, coarsened
from idgan.training.results import measure_into

SYNTHETIC = ("dsprites", "color-dsprites", "noisy-dsprites", "scream-dsprites")
TWO_STEP = ("id-gan", "without-distillation", "cgan")
"""Systems whose stage 2 builds on the encoder of another run."""
SHORT = {"vae_stage.steps": 3000, "gan_stage.steps": 3000, "vae_stage.batch_size": 32, "gan_stage.batch_size": 32, "vae_stage.select_every": 0}
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
FULL = {"vae_stage.steps": 500_000, "gan_stage.steps": 300_000, "vae_stage.optimizers.vae.lr": 1e-4, "vae_stage.select_every": 0}
"""The paper's budget on the synthetic sets, whose published recipes train for less. Recipes of natural images have it already."""
SAMPLES = {"full": 50_000, "short": 10_000, "tiny": 32}
"""Images behind a Fréchet distance."""
GILBO = {
    "full": {},
    "short": {"samples": 2000, "check_every": 250, "patience": 2, "tolerance": 0.05, "learning_rates": (1e-3,)},
    "tiny": {"samples": 32, "check_every": 1, "patience": 1, "learning_rates": (1e-3,)},
}


class Thinned:
    """A data set with factors, at no more than three values of each: metrics of it take seconds, and say nothing."""

    def __init__(self, source):
        self.source = source
        self.factors, self.indices = coarsened(source.factors, most=3)

    def __getattr__(self, name):
        return getattr(self.source, name)

    def __len__(self):
        return len(self.indices)

    def images(self, indices, *draws):
        return self.source.images(self.indices.to(indices.device)[indices], *draws)


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

    def settings(self, name, system, seed, more):
        """The settings of a run, as far as its recipe has them."""
        scaled = {"full": FULL if name in SYNTHETIC else {}, "short": SHORT, "tiny": TINY}[self.scale]
        known = describe(as_system(recipe_of(name), system))
        return {path: value for path, value in {**scaled, "seed": seed, **more}.items() if path in known}

    def run(self, name, system, seed, *, encoder="beta-vae", **more):
        """The run directory of `system` on the data set `name`, trained if it has not been; None if it must not be.

        Two-step systems take stage 1 from the run of the system `encoder`. `more`: settings, with "__" for dots.
        """
        more = {path.replace("__", "."): value for path, value in more.items()}
        label = "-".join([system, *([f"on-{encoder}"] if system in TWO_STEP else []), *(f"{p.split('.')[-1]}-{v:g}" for p, v in more.items())])
        directory = self.out / name / f"{label}-seed-{seed}"
        checkpoint = directory / "model.safetensors"
        if self.train and not checkpoint.exists():
            vae = self.run(name, encoder, seed) if system in TWO_STEP else None
            options = {"system": system, "vae": vae, "data": self.data, "measure": False, "settings": self.settings(name, system, seed, more)}
            idgan.train(name, directory, **options)
        return directory if checkpoint.exists() else None

    def measure(self, run, name, metrics):
        """Metric name -> value of a run, from its results.json or measured into it; None where there is neither."""
        if run is None:
            return dict.fromkeys(metrics)
        if not self.train:
            path = run / "results.json"
            found = json.loads(path.read_text())["metrics"] if path.exists() else []
            values = {result["details"]["request"]["metric"]: result["value"] for result in found}
            return {metric: values.get(metric) for metric in metrics}
        sampler, source = idgan.load(str(run)), open_dataset(recipe_of(name).data, self.data)
        if self.scale == "tiny" and name in SYNTHETIC:
            source = Thinned(source)
        ordinary = [metric for metric in metrics if metric != "gilbo"]
        extractor = self.extractor or ("dsprites-convnet" if name in SYNTHETIC else None)
        options = {"samples": SAMPLES[self.scale], "extractor": extractor}
        results = measure_into(run / "results.json", name, run / "model.safetensors", sampler, source, ordinary, **options)
        values = dict(zip(ordinary, (result.value for result in results)))
        if "gilbo" in metrics:
            values["gilbo"] = self.gilbo(run, sampler, source)
        return values

    def gilbo(self, run, sampler, source):
        """GILBO by this scale's stopping rule, kept in `gilbo.json` of the run."""
        path = run / "gilbo.json"
        if not path.exists():
            result = Subject(sampler, source, 0, True).gilbo(**GILBO[self.scale])
            write_atomically(path, json.dumps(result.to_dict(), indent=2) + "\n")
        return json.loads(path.read_text())["value"]

    def cell(self, name, system, metrics, **options):
        """Metric name -> list of values, one a seed that has it."""
        values = [self.measure(self.run(name, system, seed, **options), name, metrics) for seed in self.seeds]
        return {metric: [value[metric] for value in values if value[metric] is not None] for metric in metrics}

    def table(self, rows, columns, title):
        """Print, and return, a Markdown table.

        Args:
            rows: row label -> column label -> list of values.
            columns: column labels, in order.
        """
        heading = f"{title} ({self.scale}; seeds {', '.join(map(str, self.seeds))})"
        lines = [heading, "", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        lines += [f"| {label} | {' | '.join(entry(row.get(column, []), len(self.seeds)) for column in columns)} |" for label, row in rows.items()]
        missing = [f"{label}: {column}" for label, row in rows.items() for column in columns if len(row.get(column, [])) < len(self.seeds)]
        if missing:
            lines += ["", f"Missing, in whole or in part: {'; '.join(missing)}."]
        text = "\n".join(lines)
        write_atomically(self.out / f"{title.split(':')[0].replace(' ', '-').lower()}.md", text + "\n")
        print(text)
        return text


def entry(values, seeds):
    """Mean and standard deviation as text, with the number of values where it is not that of the seeds."""
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.3g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{spread}" + (f" (n={len(values)})" if len(values) < seeds else "")


def arguments(description, names):
    """The command line that the scripts share: (`Study`, data sets)."""
    parser = argparse.ArgumentParser(description=description)
    default = "full" if torch.cuda.is_available() else "short"
    parser.add_argument("--scale", choices=["full", "short", "tiny"], default=default, help=f"budget: the paper's, one CPU's, seconds [{default}]")
    parser.add_argument("--seeds", default="0", help="a run for each, such as 0,1,2 [0]")
    parser.add_argument("--names", default=",".join(names), help=f"data sets, by the names of their recipes [{','.join(names)}]")
    parser.add_argument("--data", help="where the data set's files are, for those that have any")
    parser.add_argument("--extractor", help="features of the Fréchet distance; see idgan evaluate --help")
    parser.add_argument("--out", default="runs/study", help="directory of the runs; what is there is not made again [runs/study]")
    parser.add_argument("--table-only", action="store_true", help="tabulate what is there: train nothing, measure nothing")
    parsed = parser.parse_args()
    seeds = [int(seed) for seed in parsed.seeds.split(",")]
    study = Study(parsed.scale, parsed.out, seeds, parsed.data, parsed.extractor, train=not parsed.table_only)
    return study, parsed.names.split(",")
