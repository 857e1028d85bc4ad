"""A run: both stages of a recipe in one directory, then a bundle that loads. Started again, it continues."""

import copy
import json
from contextlib import contextmanager
from pathlib import Path

import torch

from idgan.data import Batches, generator_of, open_dataset
from idgan.errors import InvalidInputError, RunError, RunMismatchError
from idgan.figures import sample_sheet, vae_sheet
from idgan.files import write_atomically
from idgan.images import encoder_view
from idgan.metrics import factor_vae_metric, mutual_information_gap
from idgan.networks import ModelConfig
from idgan.recipes import describe, override, recipe_of
from idgan.sampler import Sampler, posterior_bank
from idgan.training.bundle import bundle
from idgan.training.checkpoint import differences, step_of
from idgan.training.distributed import barrier, process_group
from idgan.training.evaluation import coarsened, mean_codes
from idgan.training.loop import Trainer
from idgan.training.report import Report
from idgan.training.stage_1 import STATE_FILE, borrow_vae, digest, trained_vae
from idgan.zoo import usable_device
from idgan.zoo.weights import CHECKPOINT_FILE

__all__ = ["STAGES", "Run", "train"]

STAGES = ("vae", "gan")
STAGE_2 = ("gan_stage.", "generator.", "discriminator.")
"""The settings on which only stage 2 depends."""
BANK, SELECTION, SHOWN = -1, -2, -3
"""Where a batch's key has its step: the draws of the posterior bank, of the selection metric, of the pictures."""


def train(
    recipe,
    out,
    *,
    stage="all",
    vae=None,
    settings=None,
    data=None,
    device="auto",
    threads=None,
    progress=True,
    save_seconds=60.0,
    measure=True,
):
    """Train a recipe into the directory `out`: stage 1 in `out/vae`, stage 2 in `out/gan`, then checkpoint, pictures and `results.json`.

    The same call continues a run that was interrupted, on a CPU to the same bits, and a finished stage is not repeated.

    Args:
        recipe: a name (`idgan.list_models()`) or a `Recipe`.
        stage: "all", "vae" or "gan".
        vae: a VAE to take instead of training stage 1: what `idgan.load` takes, or the directory of a run whose stage 1 is finished.
        settings: dotted path in the recipe -> value, such as {"gan_stage.steps": 5000, "seed": 1}.
        data: where the data set's files are, for those that have any.
        device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1". Under torchrun each process takes its own.
        threads: CPU threads; None leaves PyTorch's choice.
        progress: show progress bars where there is a terminal.
        save_seconds: time between two saves of the training state.
        measure: compute the metrics at the end (minutes).

    Returns:
        `Path` of the bundled checkpoint, which `idgan.load` takes; with stage "vae", of the directory.

    Raises:
        UnknownModelError, InvalidInputError: no such recipe, setting or stage, or a `vae` that does not fit.
        RunMismatchError: `out` holds a run with other settings; the message lists the differing ones.
        DivergedError: training has diverged; the last saved state is intact.
    """
    if stage not in ("all", *STAGES):
        raise InvalidInputError(f"stage must be all, {' or '.join(STAGES)}, got {stage!r}")
    if vae is not None and stage == "vae":
        raise InvalidInputError(f"stage 1 is taken from {vae}: there is none to train")
    recipe = override(recipe_of(recipe) if isinstance(recipe, str) else recipe, settings or {})
    with cpu(threads):
        with process_group(usable_device(device)) as group:
            run = Run(recipe, Path(out), open_dataset(recipe.data, data), group, vae=vae, progress=progress, save_seconds=save_seconds)
            if vae is None and stage in ("all", "vae"):
                run.train_vae()
            if stage == "vae":
                return run.out
            run.train_gan()
        return bundle(run, measure) if group.rank == 0 else run.out / CHECKPOINT_FILE


@contextmanager
def cpu(threads):
    """Denormals flushed to zero (they are slow, and no loss needs them) and `threads` threads, if given; the process is then as it was before."""
    before = torch.get_num_threads()
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


class Run:
    """A recipe, its data set `source`, and the directory `out` that holds its two stages.

    A stage may be given other `steps`, if it has not gone past them; stage 2 may be set otherwise as long as it has not begun; every other
    setting must be equal. With `vae` (see `train`) there is no stage 1: that VAE's weights take the place of its settings.

    Raises:
        InvalidInputError: the recipe selects weights in a way that is not possible.
        RunMismatchError: the directory holds a run with other settings.
        RunError: it holds something else.
    """

    def __init__(self, recipe, out, source, group, *, vae=None, progress=True, save_seconds=60.0):
        self.recipe = recipe
        self.out = out
        self.source = source
        self.group = group
        self.progress = progress
        self.save_seconds = save_seconds
        self.config = ModelConfig(recipe.vae, recipe.generator)
        self.history = {}
        """What each stage did: steps, seconds, for a selected encoder the step and score of the selection, for a taken one where from."""
        if recipe.gan_stage.select_every or (recipe.vae_stage.select_every and getattr(source, "factors", None) is None):
            raise InvalidInputError("select_every must be 0: only stage 1 selects weights, and only on data with ground-truth factors")
        self.settings = describe(recipe)
        """The settings that determine the result."""
        with seeded(recipe.seed):
            self.vae = recipe.vae.build()
            self.vae_objective = recipe.vae_stage.objective.build(self.vae)
            self.generator, self.discriminator = recipe.generator.build(), recipe.discriminator.build()
        if vae is not None:
            self.history["vae"] = borrow_vae(self.vae, vae)
            self.settings = {key: value for key, value in self.settings.items() if not key.startswith("vae_stage.")}
            self.settings["vae_sha256"] = digest(self.vae)
        self._claim()

    def _claim(self):
        """Make the directory this run's; every process looks before one of them writes."""
        path = self.out / "recipe.json"
        here = json.loads(json.dumps(self.settings))
        if path.exists():
            there = json.loads(path.read_text())
            done = {name: step_of(self.out / name / STATE_FILE) for name in STAGES}
            if not done["gan"]:
                there = {key: value for key, value in there.items() if not key.startswith(STAGE_2)}
                there |= {key: value for key, value in here.items() if key.startswith(STAGE_2)}
            for name in STAGES:
                if (steps := f"{name}_stage.steps") in here:
                    there[steps] = max(done[name], here[steps])
            if changed := differences(there, here):
                raise RunMismatchError(f"{self.out} holds a run with other settings ({changed}). Use those, or another directory")
        elif self.out.exists() and any(not item.name.startswith(".") for item in self.out.iterdir()):
            raise RunError(f"{self.out} is neither empty nor a run (it has no recipe.json); choose another directory")
        barrier()
        if self.group.rank == 0:
            write_atomically(path, json.dumps(here, indent=2) + "\n")

    # -------------------------------------------------------------- the stages

    def train_vae(self):
        """Stage 1."""
        indices = torch.randint(len(self.source), (32,), generator=self.draws(SHOWN))

        def draw():
            return vae_sheet(self.vae, encoder_view(self.source.images(indices, self.draws(SHOWN))).to(self.group.device))

        self._trainer("vae", self.vae_objective, draw, judge=self.judge, keep=self.vae).fit()

    def train_gan(self):
        """Stage 2, from the encoder of stage 1. Leaves the moving average of the generator (or its last weights) in `generator`."""
        if "vae" not in self.history:
            weights, self.history["vae"] = trained_vae(self.out, self.recipe.vae_stage.steps)
            self.vae.load_state_dict(weights)
        with seeded(self.recipe.seed):
            objective = self.recipe.gan_stage.objective.build(self.vae, self.generator, self.discriminator)

        def draw():
            sampler = self.sampler(bank_size=256)
            return sample_sheet(sampler, *sampler.codes(32, seed=0))

        trainer = self._trainer("gan", objective, draw, identity={"encoder": digest(self.vae)})
        self.generator = trainer.ema.module if trainer.ema else self.generator
        trainer.fit()
        self.history["gan"] = {"steps": trainer.step, "seconds": round(trainer.seconds)}

    def _trainer(self, name, objective, draw, *, identity=None, **options):
        stage = getattr(self.recipe, f"{name}_stage")
        leader = self.group.rank == 0
        batches = Batches(
            self.source,
            stage.batch_size,
            seed=len(STAGES) * self.recipe.seed + STAGES.index(name),
            rank=self.group.rank,
            world_size=self.group.world_size,
            flip=stage.flip,
            dequantise=stage.dequantise,
            device=self.group.device,
        )
        report = Report(self.out / name, f"{self.recipe.name} {name}", draw=draw, quiet=not self.progress, leader=leader)
        return Trainer(
            stage,
            objective.to(self.group.device),
            batches,
            self.out / name / STATE_FILE,
            identity=identity or {},
            report=report,
            save_seconds=self.save_seconds,
            leader=leader,
            **options,
        )

    # -------------------------------------------------------------- looking at it

    def draws(self, purpose):
        """The CPU generator of this run for one of the purposes beside training (`BANK`, `SELECTION`, `SHOWN`)."""
        return generator_of(self.recipe.seed, purpose)

    def judge(self):
        """How disentangled the encoder is now: ((MIG + FactorVAE metric) / 2, what to log), on a grid of at most 8 values a factor.

        The reported metrics are over the whole grid, and other draws.
        """
        grid, indices = coarsened(self.source.factors)
        table = mean_codes(self.vae, self.source, indices, self.group.device)
        seed = self.draws(SELECTION).initial_seed() % 2**31
        mig = mutual_information_gap(table.__getitem__, grid, seed=seed)
        fvm = factor_vae_metric(table.__getitem__, grid, seed=seed)
        return (mig.value + fvm.value) / 2, {"mig": mig.value, "fvm": fvm.value, "mig_gaps": mig.details["gaps"]}

    def sampler(self, bank_size=None, info=None):
        """A copy of the networks as they are now, as a `Sampler` with a bank of posteriors of random training images."""
        bank = posterior_bank(self.vae, self.source, bank_size or self.recipe.bank_size, self.draws(BANK), self.group.device)
        return Sampler(self.config, copy.deepcopy(self.vae), copy.deepcopy(self.generator), bank, info)


@contextmanager
def seeded(seed):
    """Initial weights made in this context are a function of `seed`; the caller's generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
