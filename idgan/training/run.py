"""A run: both stages of a recipe in one directory, then a bundle that loads. Started again, it continues."""

import hashlib
import json
from pathlib import Path

import torch

from idgan.data import Batches, generator_of, open_dataset
from idgan.errors import InvalidInputError, RunError, RunMismatchError, UnknownModelError
from idgan.figures import sample_sheet, vae_sheet
from idgan.files import write_atomically
from idgan.images import encoder_view
from idgan.metrics import mutual_information_gap
from idgan.networks import ModelConfig, Posterior
from idgan.recipes import RECIPES, describe, override
from idgan.sampler import Sampler
from idgan.training.bundle import bundle
from idgan.training.checkpoint import load_state
from idgan.training.distributed import process_group
from idgan.training.evaluation import mean_codes
from idgan.training.loop import Trainer
from idgan.training.report import Report

__all__ = ["STAGES", "Run", "train"]

STAGES = ("vae", "gan")
BANK, SELECTION, SHOWN = -1, -2, -3
"""Where a batch's key has its step: the draws of the posterior bank, of the selection metric, of the pictures."""


def train(recipe, out, *, stage="all", settings=None, data=None, device="auto", threads=None, progress=True, save_seconds=60.0, measure=True):
    """Train a recipe into the directory `out`: stage 1 in `out/vae`, stage 2 in `out/gan`, then `out/model.safetensors`, pictures, `results.json`.

    The same call continues a run that was interrupted, on a CPU to the same bits, and a finished stage is not repeated.

    Args:
        recipe: a name (`idgan.list_models()`) or a `Recipe`.
        stage: "all", "vae" or "gan".
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
        UnknownModelError, InvalidInputError: no such recipe, setting or stage.
        RunMismatchError: `out` holds a run with other settings; the message lists the differing ones.
        DivergedError: training has diverged; the last saved state is intact.
    """
    if stage not in ("all", *STAGES):
        raise InvalidInputError(f"stage must be all, {' or '.join(STAGES)}, got {stage!r}")
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise UnknownModelError(f"no recipe is called {recipe!r}; the recipes are {', '.join(sorted(RECIPES))}")
        recipe = RECIPES[recipe]()
    recipe = override(recipe, settings or {})
    if threads is not None:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    with process_group(device) as group:
        run = Run(recipe, Path(out), open_dataset(recipe.data, data), group, progress=progress, save_seconds=save_seconds)
        if stage in ("all", "vae"):
            run.train_vae()
        if stage == "vae":
            return run.out
        run.train_gan()
        return bundle(run, measure) if group.rank == 0 else run.out / "model.safetensors"


class Run:
    """A recipe, its data set `source`, and the directory `out` that holds its two stages.

    A longer run may continue a shorter one in the same directory; every other setting must be equal.

    Raises:
        RunMismatchError: the directory holds a run with other settings.
        RunError: it holds something else.
    """

    def __init__(self, recipe, out, source, group, *, progress=True, save_seconds=60.0):
        self.recipe = recipe
        self.out = out
        self.source = source
        self.group = group
        self.progress = progress
        self.save_seconds = save_seconds
        self.config = ModelConfig(recipe.vae, recipe.generator)
        self.history = {}
        """What each stage did: steps, seconds, and for a selected encoder the step and score of the selection."""
        self._claim()
        with torch.random.fork_rng(devices=[]):  # initial weights are a function of the seed, and the caller's generator is left alone
            torch.manual_seed(recipe.seed)
            self.vae, self.generator, self.discriminator = recipe.vae.build(), recipe.generator.build(), recipe.discriminator.build()
            self.vae_objective = recipe.vae_stage.objective.build(self.vae)

    def _claim(self):
        path = self.out / "recipe.json"
        described = json.loads(json.dumps(describe(self.recipe)))
        if path.exists():
            there = json.loads(path.read_text())
            changed = [key for key in sorted({*there, *described}) if there.get(key) != described.get(key) and not key.endswith(".steps")]
            if changed:
                listed = "; ".join(f"{key}: {there.get(key)!r} there, {described.get(key)!r} now" for key in changed)
                raise RunMismatchError(f"{self.out} holds a run with other settings ({listed}). Use those, or another directory")
        elif self.out.exists() and any(self.out.iterdir()):
            raise RunError(f"{self.out} is neither empty nor a run (it has no recipe.json); choose another directory")
        if self.group.rank == 0:
            write_atomically(path, json.dumps(described, indent=2) + "\n")

    # -------------------------------------------------------------- the stages

    def train_vae(self):
        """Stage 1."""
        indices = torch.randint(len(self.source), (32,), generator=self.draws(SHOWN))

        def draw():
            return vae_sheet(self.vae, encoder_view(self.source.images(indices, self.draws(SHOWN))).to(self.group.device))

        self._trainer("vae", self.vae_objective, draw, judge=self.judge, keep=self.vae).fit()

    def train_gan(self):
        """Stage 2, from the encoder of stage 1. Leaves the moving average of the generator (or its last weights) in `generator`."""
        self._load_vae()
        objective = self.recipe.gan_stage.objective.build(self.vae, self.generator, self.discriminator)
        encoder = hashlib.sha256(b"".join(tensor.cpu().numpy().tobytes() for tensor in self.vae.state_dict().values())).hexdigest()

        def draw():
            sampler = self.sampler(bank_size=256)
            return sample_sheet(sampler, *sampler.codes(32, seed=0))

        trainer = self._trainer("gan", objective, draw, identity={"encoder": encoder})
        self.generator = trainer.ema.module if trainer.ema else self.generator
        trainer.fit()
        self.history["gan"] = {"steps": trainer.step, "seconds": round(trainer.seconds)}

    def _load_vae(self):
        """Put the result of stage 1 into `vae`: the selected weights, or the last."""
        path = self.out / "vae" / "state.safetensors"
        state = load_state(path) if path.exists() else {"step": 0}
        if state["step"] < self.recipe.vae_stage.steps:
            raise RunError(f"stage 1 in {self.out} is at step {state['step']} of {self.recipe.vae_stage.steps}; finish it first (--stage vae)")
        self.history["vae"] = {"steps": state["step"], "seconds": round(state["seconds"])}
        if self.recipe.vae_stage.select_every:
            self.vae.load_state_dict(state["best"]["weights"])
            self.history["vae"] |= {"selected_step": state["best"]["step"], "selection_mig": state["best"]["score"]}
        else:
            self.vae_objective.load_state_dict(state["objective"])

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
            self.out / name / "state.safetensors",
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
        """MIG of the encoder on 10,000 random images, drawn by another seed than those that are reported: (score, what to log)."""
        seed = self.draws(SELECTION).initial_seed() % 2**31
        result = mutual_information_gap(lambda indices: mean_codes(self.vae, self.source, indices, self.group.device), self.source.factors, seed=seed)
        return result.value, {"mig": result.value, "mig_gaps": result.details["gaps"]}

    @torch.no_grad()
    def sampler(self, bank_size=None, info=None):
        """The networks as they are now, as a `Sampler` with a bank of posteriors of random training images."""
        draws = self.draws(BANK)
        indices = torch.randint(len(self.source), (bank_size or self.recipe.bank_size,), generator=draws)
        views = (encoder_view(self.source.images(part, draws)).to(self.group.device) for part in indices.split(256))
        posteriors = [self.vae.encode(view) for view in views]
        bank = Posterior(torch.cat([posterior.mean for posterior in posteriors]), torch.cat([posterior.logvar for posterior in posteriors]))
        return Sampler(self.config, self.vae, self.generator, bank, info)
