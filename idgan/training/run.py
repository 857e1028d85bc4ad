"""A run: the stages of a recipe in one directory, then a bundle that loads. Started again, it continues."""

import copy
import json
from contextlib import contextmanager
from pathlib import Path

import torch

from idgan.data import Batches, content_key, open_dataset
from idgan.errors import InvalidInputError, RunError, RunMismatchError
from idgan.evaluation.grid_codes import mean_codes, posterior_bank, thinned_grid
from idgan.figures import sample_sheet, vae_sheet
from idgan.files import write_atomically
from idgan.images import contact_sheet, encoder_view
from idgan.metrics import factor_vae_metric, mutual_information_gap
from idgan.networks import ModelConfig, VAEConfig
from idgan.networks.modules import usable_device
from idgan.recipes import apply_method, defaults, describe, override, recipe_of
from idgan.rng import make_rng
from idgan.sampler import Sampler
from idgan.training.bundle import bundle
from idgan.training.checkpoint import SETTINGS_FILE, differences, read_settings, step_of
from idgan.training.distributed import barrier, process_group
from idgan.training.loop import Trainer
from idgan.training.report import Report
from idgan.training.stage_1 import STATE_FILE, load_pretrained_vae, state_dict_sha256, trained_vae
from idgan.zoo.weights import CHECKPOINT_FILE

__all__ = ["STAGES", "STAGE_1", "Run", "train"]

STAGES = ("vae", "gan")
STAGE_1 = ("vae_stage.", "init_vae_from")
"""The settings on which only stage 1 depends."""
STAGE_2 = ("gan_stage.", "generator.", "generator_init", "discriminator.")
"""The settings on which only stage 2 depends."""
BANK, SELECTION, SHOWN = -1, -2, -3
"""Where a batch's key has its step: the draws of the posterior bank, of the selection metric, of the pictures."""


def train(
    recipe,
    out,
    *,
    method="id-gan",
    stage="all",
    vae=None,
    settings=None,
    data=None,
    device="auto",
    threads=None,
    progress=True,
    save_seconds=60.0,
    measure=True,
    compile=False,
):
    """Train a recipe into the directory `out`: stage 1 in `out/vae`, stage 2 in `out/gan`, then checkpoint, pictures and `results.json`.

    The same call continues a run that was interrupted, on a CPU to the same bits, and a finished stage is not repeated. (`device`, `threads`
    and `compile` may change in between; the run goes on from where it is, and then the bits differ.)

    **Networks of your own.** A `Recipe` takes any frozen dataclass of plain values with `build()` for a network, if it tells `image_channels` and

    - `vae`: `c_dim` and the `resolution` the encoder sees; the network has `encode(x) -> Posterior` for x in [0, 1], and for stage 1 to train it
      `decode_logits(c)`, pixel logits, and `decode(c)`, images in [0, 1];
    - `generator`: `c_dim`, `s_dim` and `resolution`; the network maps cat([s, c]) to images in [-1, 1];
    - `discriminator`: the network maps images in [-1, 1] to logits (N,).

    With `vae_stage` None an encoder of your own is taken as its `build()` makes it, trained already. A checkpoint holds only the package's
    networks, so such a run ends with `networks.safetensors` and `samples.png` instead: `idgan.training.checkpoint.load_state` gives the
    state dicts back, as "vae" and "generator" (its moving average).

    Args:
        recipe: a name (`idgan.list_models()`) or a `Recipe`.
        method: which of the methods of the paper to train by the recipe's settings, a name in `idgan.recipes.METHODS`: "beta-vae", "gan" ...
        stage: "all", "vae" or "gan".
        vae: a VAE to take instead of training stage 1: what `idgan.load` takes, or the directory of a run whose stage 1 is finished.
        settings: dotted path in the recipe -> value, such as {"gan_stage.steps": 5000, "seed": 1}.
        data: where the data set's files are, for those that have any.
        device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1". Under torchrun each process takes its own.
        threads: CPU threads; None leaves PyTorch's choice.
        progress: show progress bars where there is a terminal.
        save_seconds: time between two saves of the training state.
        measure: compute the metrics at the end (minutes).
        compile: compile the networks (`torch.compile`), but for the steps that have an R1 penalty; True, or the name of a backend.

    Returns:
        `Path` of the bundled checkpoint, which `idgan.load` takes; with stage "vae", or with networks of your own, of the directory.

    Raises:
        UnknownModelError, InvalidInputError: no such recipe, method, setting or stage, or a network that does not fit.
        RunMismatchError: `out` holds a run with other settings, or on other data; the message lists what differs.
        DivergedError: training has diverged; the last saved state is intact.
    """
    recipe = override(apply_method(recipe_of(recipe) if isinstance(recipe, str) else recipe, method), settings or {})
    refuse_stage(recipe, stage, vae)
    with cpu(threads):
        with process_group(usable_device(device)) as group:
            options = {"vae": vae, "data": data, "progress": progress, "save_seconds": save_seconds, "compile": compile}
            run = Run(recipe, Path(out), open_dataset(recipe.data, data), group, **options)
            if vae is None and stage in ("all", "vae") and "vae" in recipe.stages:
                run.train_vae()
            if stage == "vae":
                return run.out
            run.take_vae()
            if "gan" in recipe.stages:
                run.train_gan()
        if group.rank == 0:
            bundle(run, measure)
        return run.result


def refuse_stage(recipe, stage, vae=None):
    """Refuse a `stage` that `recipe` does not have, and a `vae` that leaves nothing to train, as `train` has them."""
    if stage not in ("all", *STAGES):
        raise InvalidInputError(f"stage must be all, {' or '.join(STAGES)}, got {stage!r}")
    if stage != "all" and stage not in recipe.stages:
        raise InvalidInputError(f"there is no stage {stage!r} here; the only one is {recipe.stages[0]!r}")
    if vae is not None and (stage == "vae" or len(recipe.stages) < 2):
        raise InvalidInputError(
            f"stage 1 is taken from {vae}: there is {'none' if stage == 'vae' else 'no stage 2'} to train"
        )


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
    """A recipe, its data set `dataset`, and the directory `out` that holds its stages.

    A stage may be given other `steps`, if it has not gone past them; stage 2 may be set otherwise as long as it has not begun; every other
    setting must be equal. With `vae` (see `train`) there is no stage 1: that VAE's weights take the place of its settings.

    Raises:
        InvalidInputError: the recipe selects weights in a way that is not possible, or its networks do not go together.
        RunMismatchError: the directory holds a run with other settings.
        RunError: it holds something else.
    """

    def __init__(
        self, recipe, out, dataset, group, *, vae=None, data=None, progress=True, save_seconds=60.0, compile=False
    ):
        self.recipe = recipe
        self.out = out
        self.dataset = dataset
        self.given = None if data is None or getattr(dataset, "factors", None) is not None else str(data)
        """Where the images are, if the recipe does not know: they may be other ones than its own. None for sets with ground-truth factors."""
        self.group = group
        self.progress = progress
        self.save_seconds = save_seconds
        self.compile = compile
        self.batches = {name: batches_of(recipe, name, dataset, group) for name in recipe.stages}
        self.config = ModelConfig(recipe.vae, recipe.generator)
        self.result = out / CHECKPOINT_FILE if self.config.of_the_package else out
        """What the run leaves: its checkpoint, or where there is none its directory."""
        self.history = {}
        """What each stage did: steps, seconds, for a selected encoder the step and score of the selection, for a taken one where from."""
        select = {name: getattr(recipe, f"{name}_stage").select_every for name in recipe.stages}
        if select.get("gan") or (select.get("vae") and getattr(dataset, "factors", None) is None):
            raise InvalidInputError(
                "select_every must be 0: only stage 1 selects weights, and only on data with ground-truth factors"
            )
        self.settings = describe(recipe)
        """The settings that determine the result."""
        with seeded(recipe.seed):
            self.vae = recipe.build("vae")
            self.objective = recipe.vae_stage.objective.build(self.vae) if recipe.vae_stage else None
            """The objective of the stage that is training, or was last."""
            self.generator, self.discriminator = recipe.build("generator"), recipe.build("discriminator")
        if vae is None and recipe.init_vae_from:
            load_pretrained_vae(self.vae, recipe.init_vae_from)
            self.settings["init_vae_from_sha256"] = state_dict_sha256(self.vae)
        if vae is not None:
            self.history["vae"] = load_pretrained_vae(self.vae, vae)
            self.settings = {key: value for key, value in self.settings.items() if not key.startswith(STAGE_1)}
            self.settings["vae_sha256"] = state_dict_sha256(self.vae)
        self._claim()

    def _claim(self):
        """Make the directory this run's; every process looks before one of them writes."""
        path = self.out / SETTINGS_FILE
        here = json.loads(json.dumps(self.settings))
        if path.exists():
            there = {key: value for key, value in defaults(self.recipe).items() if key in here} | read_settings(
                self.out
            )
            done = {name: step_of(self.out / name / STATE_FILE) for name in STAGES}
            if not done["gan"]:
                there = {key: value for key, value in there.items() if not key.startswith(STAGE_2)}
                there |= {key: value for key, value in here.items() if key.startswith(STAGE_2)}
            for name in STAGES:
                if (steps := f"{name}_stage.steps") in here:
                    there[steps] = max(done[name], here[steps])
            if changed := differences(there, here):
                raise RunMismatchError(
                    f"{self.out} holds a run with other settings ({changed}). Use those, or another directory"
                )
        elif self.out.exists() and any(not item.name.startswith(".") for item in self.out.iterdir()):
            raise RunError(f"{self.out} is neither empty nor a run (it has no recipe.json); choose another directory")
        barrier()
        if self.group.rank == 0:
            write_atomically(path, json.dumps(here, indent=2) + "\n")

    # -------------------------------------------------------------- the stages

    def train_vae(self):
        """Stage 1."""
        self._trainer("vae", lambda: self.vae_picture(self.vae), judge=self.judge, keep=self.vae).fit()

    def take_vae(self):
        """Put what stage 1 has come to into `vae`, where there is a stage 1; without a stage 2 it is `generator` too."""
        if "vae" in self.recipe.stages and "vae" not in self.history:
            weights, self.history["vae"] = trained_vae(self.out, self.recipe.vae_stage.steps)
            self.vae.load_state_dict(weights)
        if "gan" not in self.recipe.stages:
            self.generator = self.vae

    def train_gan(self):
        """Stage 2, on `vae`. Leaves the moving average of the generator (or its last weights) in `generator`."""
        with seeded(self.recipe.seed):
            self.objective = self.recipe.gan_stage.objective.build(self.vae, self.generator, self.discriminator)
        trainer = self._trainer("gan", self.picture, identity={"encoder": state_dict_sha256(self.vae)})
        self.generator = trainer.ema.module if trainer.ema else self.objective.generator
        trainer.fit()
        self.history["gan"] = {"steps": trainer.step, "seconds": round(trainer.seconds)}

    def _trainer(self, name, draw, *, identity=None, **options):
        stage = getattr(self.recipe, f"{name}_stage")
        leader = self.group.rank == 0
        report = Report(
            self.out / name, f"{self.recipe.name} {name}", draw=draw, quiet=not self.progress, leader=leader
        )
        return Trainer(
            stage,
            self.objective.to(self.group.device),
            self.batches[name],
            self.out / name / STATE_FILE,
            identity=(identity or {}) | {"data": content_key(self.dataset)},
            report=report,
            save_seconds=self.save_seconds,
            leader=leader,
            compile=self.compile,
            **options,
        )

    # -------------------------------------------------------------- looking at it

    def rng(self, purpose):
        """The CPU generator of this run for one of the purposes beside training (`BANK`, `SELECTION`, `SHOWN`)."""
        return make_rng(self.recipe.seed, purpose)

    def judge(self):
        """How disentangled the encoder is now: ((MIG + FactorVAE metric) / 2, what to log), on a grid of at most 8 values a factor.

        The reported metrics are over the whole grid, and other draws.
        """
        grid, indices = thinned_grid(self.dataset.factors)
        table = mean_codes(self.vae, self.dataset, indices, self.group.device)
        seed = self.rng(SELECTION).initial_seed() % 2**31
        mig = mutual_information_gap(table.__getitem__, grid, seed=seed)
        fvm = factor_vae_metric(table.__getitem__, grid, seed=seed)
        return (mig.value + fvm.value) / 2, {"mig": mig.value, "fvm": fvm.value, "mig_gaps": mig.details["gaps"]}

    @property
    def decodes(self):
        """Whether the generator is a VAE, which draws by its decoder."""
        return isinstance(self.generator, type(self.vae))

    def vae_picture(self, vae):
        """What `vae` makes of some images of the data set, a PIL image."""
        indices = torch.randint(len(self.dataset), (32,), generator=self.rng(SHOWN))
        x = encoder_view(self.dataset.images(indices, self.rng(SHOWN)), vae.config.resolution)
        return vae_sheet(
            copy.deepcopy(vae).eval(), x.to(self.group.device)
        )  # looking at batch statistics would change them

    def picture(self):
        """What the generator draws now, beside what the decoder makes of the same codes, if there is one."""
        if self.decodes:
            return self.vae_picture(self.generator)
        sampler = self.sampler(bank_size=256, info={"training": {"untrained": self.untrained()}})
        codes = sampler.codes(32, seed=0)
        return (
            sample_sheet(sampler, *codes)
            if hasattr(self.vae, "decode")
            else contact_sheet(sampler.sample(*codes).cpu())
        )

    def untrained(self):
        """Which of "encoder" and "decoder" of the package's VAE no stage trains, for its method has no use of them; of your own, none."""
        if "vae" in self.recipe.stages or type(self.config.vae) is not VAEConfig:
            return []
        moved = {id(parameter) for phase in self.objective.phases for parameter in self.objective.parameters_of(phase)}
        return [
            part for part in ("encoder", "decoder") if moved.isdisjoint(map(id, getattr(self.vae, part).parameters()))
        ]

    def sampler(self, bank_size=None, info=None):
        """A copy of the networks as they are now, as a `Sampler`.

        Its bank holds posteriors of random training images; where training draws codes from N(0, I), it is that distribution.
        """
        bank = None
        if self.objective.prior == "aggregated":
            bank = posterior_bank(
                self.vae, self.dataset, bank_size or self.recipe.bank_size, self.rng(BANK), self.group.device
            )
        generator = self.generator.as_generator() if self.decodes else copy.deepcopy(self.generator)
        return Sampler(self.config, copy.deepcopy(self.vae), generator, bank, info)


def batches_of(recipe, name, dataset, group):
    """The `Batches` of the stage called `name` of `recipe`, for one process of `group` (a device, rank and world size).

    Raises:
        InvalidInputError: a batch cannot be shared equally.
    """
    stage = getattr(recipe, f"{name}_stage")
    return Batches(
        dataset,
        stage.batch_size,
        seed=len(STAGES) * recipe.seed + STAGES.index(name),
        rank=group.rank,
        world_size=group.world_size,
        parts=stage.accumulation_steps,
        flip=stage.flip,
        dequantize=stage.dequantize,
        device=group.device,
    )


@contextmanager
def seeded(seed):
    """Initial weights made in this context are a function of `seed`; the caller's generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
