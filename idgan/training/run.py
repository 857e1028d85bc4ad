"""A run: the stages of a recipe in one directory. Started again, it continues."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from idgan.data import Dataset, content_key
from idgan.errors import InvalidInputError, RunError, RunMismatchError
from idgan.evaluation.grid_codes import mean_codes, posterior_bank, thinned_grid
from idgan.figures import sample_sheet, vae_sheet
from idgan.files import write_atomically
from idgan.images import encoder_view
from idgan.metrics import factor_vae_metric, mutual_information_gap
from idgan.networks import ModelConfig
from idgan.objectives import Objective
from idgan.recipes import Recipe, defaults, describe
from idgan.rng import make_rng
from idgan.sampler import Sampler
from idgan.training.callbacks import Callback, Callbacks
from idgan.training.checkpoint import SETTINGS_FILE, STATE_FILE, differences, read_settings, step_of
from idgan.training.distributed import barrier, process_group
from idgan.training.loop import Trainer
from idgan.training.report import Report
from idgan.training.setup import STAGES, batches_of, seeded
from idgan.training.stage_1 import load_pretrained_vae, state_dict_sha256, trained_vae, untrained_parts
from idgan.training.warm_start import load_pretrained_generator
from idgan.zoo.weights import CHECKPOINT_FILE

__all__ = ["STAGE_1", "Run"]

STAGE_1 = ("vae_stage.", "init_vae_from")
"""Settings that influence stage 1 alone."""
STAGE_2 = ("gan_stage.", "generator.", "generator_init", "init_generator_from", "discriminator.")
"""Settings that influence stage 2 alone."""
BANK, SELECTION, SHOWN = -1, -2, -3
"""Keys of random numbers for the posterior bank, the selection score and the pictures.

The key of a batch is its step.
"""


class Run:
    """A recipe and the directory that holds its stages.

    A directory belongs to the settings of its first run. The numbers of steps and of cooldown steps may change until
    the cooldown begins, by the old numbers and by the new ones. Settings of stage 2 may change until it has begun.

    Args:
        recipe: what to train.
        out: the directory.
        dataset: the opened data set of the recipe.
        group: this process among all.
        vae: a VAE that replaces stage 1, see `idgan.train`. Its weights take the place of the settings of stage 1.
        origin: name or "module:name" of the recipe that `recipe` derives from. None for a recipe that only exists as an
            object.
        data: path of the images that the caller gave.
        progress, save_seconds, compile, callbacks: see `idgan.train`.

    Attributes:
        settings: the settings that determine the result, dotted path -> plain value.
        history: stage -> what it did: steps, seconds, and for selected weights their step and score.
        objective: the objective of the current stage.

    Raises:
        InvalidInputError: weights cannot be selected this way, or the networks do not fit each other.
        RunMismatchError: the directory holds a run with other settings.
        RunError: the directory holds something else.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        dataset: Dataset,
        group: process_group,
        *,
        vae: str | Path | None = None,
        origin: str | None = None,
        data: str | Path | None = None,
        progress: bool = True,
        save_seconds: float = 60.0,
        compile: bool | str | Callable[..., Any] = False,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.recipe = recipe
        self.out = out
        self.dataset = dataset
        self.group = group
        self.origin = origin
        # The path of a data set with factors does not change its content.
        self.data = None if data is None or getattr(dataset, "factors", None) is not None else str(data)
        self.progress = progress
        self.save_seconds = save_seconds
        self.compile = compile
        self.callbacks = Callbacks(callbacks, leader=group.rank == 0)
        self.batches = {name: batches_of(recipe, name, dataset, group) for name in recipe.stages}
        self.config = ModelConfig(recipe.vae, recipe.generator)
        self.history: dict[str, dict[str, Any]] = {}
        select = {name: stage.select_every for name, stage in recipe.stages.items()}
        if select.get("gan") or (select.get("vae") and getattr(dataset, "factors", None) is None):
            raise InvalidInputError(
                "select_every must be 0: only stage 1 selects weights, and only on data with ground-truth factors "
                "(--set vae_stage.select_every=0)"
            )
        self.settings = describe(recipe)
        with seeded(recipe.seed):
            self.vae = recipe.build("vae")
            self.objective: Objective | None = None
            if "vae" in recipe.stages:
                self.objective = recipe.build_objective("vae", self.vae)
            self.generator, self.discriminator = recipe.build("generator"), recipe.build("discriminator")
        if vae is None and recipe.init_vae_from:
            self._start_from("vae", "vae", self.vae, load_pretrained_vae, recipe.init_vae_from)
        if vae is not None:
            self.history["vae"] = load_pretrained_vae(self.vae, vae)
            self.settings = {key: value for key, value in self.settings.items() if not key.startswith(STAGE_1)}
            self.settings["vae_sha256"] = state_dict_sha256(self.vae)
        if recipe.init_generator_from:
            start = recipe.init_generator_from, recipe.seed
            self._start_from("gan", "generator", self.generator, load_pretrained_generator, *start)
        self._claim_directory()

    @property
    def result(self) -> Path:
        """What the finished run leaves: the checkpoint, or the directory if a checkpoint cannot hold the networks."""
        has_generator = not self.decodes or hasattr(self.vae, "as_generator")
        return self.out / CHECKPOINT_FILE if self.config.is_registered and has_generator else self.out

    def _start_from(self, stage: str, part: str, network: nn.Module, load: Callable[..., Any], *where: Any) -> None:
        """Fill `network` by `load(network, *where)` for the start of `stage`. The hash of its weights is a setting.

        If the stage has begun, its state has the weights. Then nothing is loaded, because another model may be at
        `where` by now, and the stored hash stays.
        """
        key = f"init_{part}_from_sha256"
        begun = step_of(self.out / stage / STATE_FILE) > 0
        if begun and (stored := read_settings(self.out).get(key)):
            self.settings[key] = stored
            return
        load(network, *where)
        self.settings[key] = state_dict_sha256(network)

    def _claim_directory(self) -> None:
        """Write the settings into the directory. Every process checks before one of them writes."""
        path = self.out / SETTINGS_FILE
        current = json.loads(json.dumps(self.settings))
        if path.exists():
            older = {key: value for key, value in defaults(self.recipe).items() if key in current}
            if changed := differences(self._comparable(older | read_settings(self.out), current), current):
                raise RunMismatchError(
                    f"{self.out} holds a run with other settings ({changed}). Use those, or another directory"
                )
        elif self.out.exists() and any(not item.name.startswith(".") for item in self.out.iterdir()):
            raise RunError(f"{self.out} is neither empty nor a run (it has no recipe.json); choose another directory")
        barrier()
        if self.group.rank == 0:
            write_atomically(path, json.dumps(current, indent=2) + "\n")

    def _comparable(self, stored: dict[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
        """The `stored` settings with those replaced that this run may change."""
        done = {name: step_of(self.out / name / STATE_FILE) for name in STAGES}
        if not done["gan"]:
            stored = {key: value for key, value in stored.items() if not key.startswith(STAGE_2)}
            stored |= {key: value for key, value in current.items() if key.startswith(STAGE_2)}
        for name in STAGES:
            if name == "vae" and done["gan"]:
                continue  # more steps of stage 1 would make another encoder than the one that stage 2 knows
            steps, cooldown = f"{name}_stage.steps", f"{name}_stage.cooldown_steps"
            if all(isinstance(each.get(key), int) for each in (stored, current) for key in (steps, cooldown)):
                constant = min(each[steps] - each[cooldown] for each in (stored, current))
                if done[name] <= max(0, constant):
                    stored |= {steps: current[steps], cooldown: current[cooldown]}
        return stored

    # -------------------------------------------------------------- the stages

    def train_vae(self) -> None:
        """Stage 1."""
        options = {"select_score": self.select_score, "selected_network": self.vae}
        self._fit("vae", self._trainer("vae", lambda: self.vae_picture(self.vae), **options))

    def take_vae(self) -> None:
        """Load the result of stage 1 into `vae`. Without a stage 2, the VAE is also the generator."""
        if "vae" in self.recipe.stages and "vae" not in self.history:
            weights, self.history["vae"] = trained_vae(self.out, self.recipe.stages["vae"].steps)
            self.vae.load_state_dict(weights)
        if "gan" not in self.recipe.stages:
            self.generator = self.vae

    def train_gan(self) -> None:
        """Stage 2 on `vae`. Leaves the moving average of the generator, or its last weights, in `generator`."""
        if self.recipe.generator_init == "decoder" and not self.recipe.init_generator_from:
            with seeded(self.recipe.seed):
                start = self.vae.as_generator(self.recipe.generator.s_dim)
            self.generator.load_state_dict(start.state_dict())
        with seeded(self.recipe.seed):
            self.objective = self.recipe.build_objective("gan", self.vae, self.generator, self.discriminator)
        trainer = self._trainer("gan", self.picture, identity={"encoder": state_dict_sha256(self.vae)})
        self.generator = trainer.ema.module if trainer.ema else trainer.objective.generator
        self._fit("gan", trainer)
        self.history["gan"] = {"steps": trainer.step, "seconds": round(trainer.seconds)}

    def _fit(self, name: str, trainer: Trainer) -> None:
        """Train a stage to its end, and tell the callbacks."""
        self.callbacks.call_and_raise("on_stage_start", name, trainer.step, trainer.stage.steps)
        trainer.fit()
        self.callbacks.call_and_raise("on_stage_end", name, self.out / name)

    def _trainer(
        self,
        name: str,
        draw: Callable[[], Image.Image],
        *,
        identity: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Trainer:
        leader = self.group.rank == 0
        assert self.objective
        return Trainer(
            self.recipe.stages[name],
            self.objective.to(self.group.device),
            self.batches[name],
            self.out / name / STATE_FILE,
            identity={**(identity or {}), **self.objective_identity(), "data": content_key(self.dataset)},
            report=Report(
                self.out / name, f"{self.recipe.name} {name}", draw=draw, quiet=not self.progress, leader=leader
            ),
            callbacks=self.callbacks,
            save_seconds=self.save_seconds,
            leader=leader,
            compile=self.compile,
            **options,
        )

    def objective_identity(self) -> dict[str, Any]:
        """`identity()` of the current objective. An objective of a user's own may lack the method."""
        return dict(getattr(self.objective, "identity", dict)())

    # -------------------------------------------------------------- scores and pictures

    def rng(self, purpose: int) -> torch.Generator:
        """The CPU generator of random numbers for `BANK`, `SELECTION` or `SHOWN`."""
        return make_rng(self.recipe.seed, purpose)

    def select_score(self) -> tuple[float, dict[str, Any]]:
        """How disentangled the encoder is: ((MIG + FactorVAE metric) / 2, values to log).

        It uses at most 8 values of each factor. The reported metrics use the whole grid and other random numbers.
        """
        assert self.dataset.factors is not None  # __init__ refuses selection without factors
        grid, indices = thinned_grid(self.dataset.factors)
        table = mean_codes(self.vae, self.dataset, indices, self.group.device)
        seed = self.rng(SELECTION).initial_seed() % 2**31
        mig = mutual_information_gap(table.__getitem__, grid, seed=seed)
        fvm = factor_vae_metric(table.__getitem__, grid, seed=seed)
        return (mig.value + fvm.value) / 2, {"mig": mig.value, "fvm": fvm.value, "mig_gaps": mig.details["gaps"]}

    @property
    def decodes(self) -> bool:
        """Whether the generator is a VAE, which generates with its decoder."""
        return isinstance(self.generator, type(self.vae))

    def vae_picture(self, vae: Any) -> Image.Image:
        """Some images of the data set and their reconstructions by `vae`."""
        indices = torch.randint(len(self.dataset), (32,), generator=self.rng(SHOWN))
        x = encoder_view(self.dataset.images(indices, self.rng(SHOWN)), vae.config.resolution)
        vae = copy.deepcopy(vae).eval()  # a copy, because train mode would change batch statistics
        return vae_sheet(vae, x.to(self.group.device))

    @property
    def nuisance_encoder(self) -> Any:
        """The encoder of s that the objective trains, or None."""
        return getattr(self.objective, "nuisance_encoder", None)

    def picture(self) -> Image.Image:
        """Images of the current generator, and those of a trained decoder for the same codes."""
        if self.decodes:
            return self.vae_picture(self.generator)
        sampler = self.sampler(bank_size=256, info={"training": {"untrained": self.untrained()}})
        return sample_sheet(sampler, *sampler.codes(32, seed=0))

    def untrained(self) -> tuple[str, ...]:
        """The parts of the VAE ("encoder", "decoder") that no stage trains. See `untrained_parts`."""
        if "vae" in self.recipe.stages:
            return () if hasattr(self.vae, "decode") else ("decoder",)
        assert self.objective
        with seeded(self.recipe.seed ^ 1):
            fresh = self.recipe.build("vae")
        moved = [parameter for phase in self.objective.phases for parameter in self.objective.parameters_of(phase)]
        return untrained_parts(self.vae, fresh, moved)

    def sampler(self, bank_size: int | None = None, info: dict[str, Any] | None = None) -> Sampler:
        """A copy of the current networks as a `Sampler`.

        Its bank holds posteriors of random training images. If training draws codes from N(0, I), the bank represents
        N(0, I).
        """
        bank = None
        assert self.objective
        if self.objective.prior == "aggregated":
            size = bank_size or self.recipe.bank_size
            bank = posterior_bank(self.vae, self.dataset, size, self.rng(BANK), self.group.device)
        generator = self.generator.as_generator() if self.decodes else copy.deepcopy(self.generator)
        config, nuisance_encoder = self.config, copy.deepcopy(self.nuisance_encoder)
        if nuisance_encoder is not None:
            config = replace(config, nuisance_encoder=nuisance_encoder.config)
        return Sampler(config, copy.deepcopy(self.vae), generator, bank, info, nuisance_encoder)
