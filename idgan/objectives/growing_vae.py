"""A FactorVAE with a growing code: two dimensions first, and more once these are in place."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from idgan.errors import InvalidInputError, check_integer, check_range
from idgan.images import encoder_view
from idgan.networks.heads import TCDiscriminator
from idgan.networks.posterior import Posterior
from idgan.networks.protocols import VAENetwork, check_methods
from idgan.networks.vae import VAE, TwoStackVAE
from idgan.objectives import alignment, terms
from idgan.objectives.factor_vae import tc_discriminator_losses
from idgan.objectives.objective import Losses, Phases, TrainingBatch, TrainingImages, register_objective
from idgan.objectives.schedule import Phase, growing_phases
from idgan.objectives.vae import VAEObjective, VAEObjectiveConfig

__all__ = ["GrowingVAE", "GrowingVAEConfig"]

RANDOM_UNLOCKS = {"cold": {"encoder": 0.02, "decoder": 0.3}, "full": {"encoder": 1.0, "decoder": 4.0}}
"""Size of the random weights of new dimensions, relative to a new linear layer."""
ENCODED_BATCH = 64
"""Images in a batch that is encoded between two steps."""


@register_objective()
@dataclass(frozen=True, kw_only=True)
class GrowingVAEConfig(VAEObjectiveConfig):
    """Config of `GrowingVAE`.

    Attributes:
        phases: the schedule. Training after the last phase continues with its final values. A phase with more
            dimensions than the code unlocks all.
        critic_width, critic_depth: width and number of the hidden layers of the TC discriminator (1000 and 6 in
            Table A.2).
        images: number of images from which axes and hot dimensions are computed.
        inactive_kl: a dimension with a mean KL below this, in nats, is inactive.
        outliers: `align` leaves out this share of the images, in [0, 1): those with codes farthest from the median.

    Raises:
        InvalidInputError: there are no phases, or a number is out of range.
    """

    phases: tuple[Phase, ...] = field(default_factory=growing_phases)
    critic_width: int = 256
    critic_depth: int = 3
    images: int = 6_000
    inactive_kl: float = 0.05
    outliers: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(1, critic_width=self.critic_width, critic_depth=self.critic_depth)
        check_integer(2, images=self.images)
        check_range(0, inactive_kl=self.inactive_kl)
        check_range(0, 1, outliers=self.outliers)
        if not self.phases:
            raise InvalidInputError("phases must contain one Phase or more, got none")

    def build(self, vae: VAENetwork) -> "GrowingVAE":
        """The `GrowingVAE` of this config, for `vae`, with a new TC discriminator."""
        return GrowingVAE(vae, self)


class GrowingVAE(VAEObjective):
    """min E[-log p(x|c)] + beta KL + tc_weight TC(q(c)) over the dimensions that are unlocked.

    The loss is that of FactorVAE (Kim & Mnih 2018, Eq. 2) with a weight of the KL (Eq. 1). A locked dimension has c = 0
    and no KL.

    A code of two dimensions is nearly linear in the position of a sprite, so its mean codes fill a square. The square
    is rotated onto the axes of the code (`idgan.objectives.alignment`). Later dimensions find the position encoded.

    With `frozen_dims`, the code of a `TwoStackVAE` grows in two parts. The first phases train the first stack alone.
    From the first phase with `frozen_dims` on, this stack and the rows of the frozen dimensions are no longer trained.
    The other dimensions read both stacks and train the second. The decoder is always trained. The first dimensions can
    then encode a background, and the others what is in front of it. A frozen dimension that is inactive is cleared like
    any other. An optimizer must not have a weight decay, which would move frozen weights. `--compile` leaves out the
    encoder of a code in two parts.

    Every change between two steps is a function of the state, the seed and the step.

    Raises:
        InvalidInputError: `vae` does not have the linear layers that `idgan.objectives.alignment` changes, or
            `frozen_dims` does not fit it.
    """

    vae: VAE

    def __init__(self, vae: VAENetwork, config: GrowingVAEConfig) -> None:
        super().__init__(vae)
        check_methods(vae, "features", "encoder", "decoder", needed_by="GrowingVAE")
        for name, layer in {"encoder[-1]": self.vae.encoder[-1], "decoder[0]": self.vae.decoder[0]}.items():
            if not isinstance(layer, nn.Linear):
                raise InvalidInputError(f"GrowingVAE needs a linear layer {name}, got {type(layer).__name__}")
        self.config = config
        frozen = [phase.frozen_dims for phase in config.phases]
        if any(frozen) and not isinstance(vae, TwoStackVAE):
            raise InvalidInputError(f"frozen_dims needs a TwoStackVAE, got {type(vae).__name__}")
        if frozen[0] or frozen != sorted(frozen) or len(set(frozen)) > 2:
            raise InvalidInputError(
                f"frozen_dims must be 0 in the first phases and one other number in all later phases, got {frozen}"
            )
        before = max(self.unlocked_dims(phase) for phase in config.phases if not phase.frozen_dims)
        if frozen[-1] > before:
            raise InvalidInputError(
                f"frozen_dims is {frozen[-1]}, but the phases before unlock only {before} dimensions of the code"
            )
        if any(phase.frozen_dims >= self.unlocked_dims(phase) for phase in config.phases):
            raise InvalidInputError(
                f"frozen_dims is {frozen[-1]}, so a phase would train no dimension; give it more dims, and the code a "
                f"c_dim above {frozen[-1]}"
            )
        self.tc_discriminator = TCDiscriminator(vae.config.c_dim, config.critic_width, config.critic_depth)

    @property
    def phases(self) -> Phases:
        return {"vae": self.vae_losses, "tc_discriminator": self.tc_discriminator_losses}

    # -------------------------------------------------------------- the schedule

    def phase_at(self, step: int) -> tuple[Phase, int]:
        """The phase of the schedule at `step`, and the number of the step in that phase."""
        start = 0
        for phase in self.config.phases[:-1]:
            if step < start + phase.steps:
                return phase, step - start
            start += phase.steps
        return self.config.phases[-1], step - start

    def unlocked_dims(self, phase: Phase) -> int:
        """Number of dimensions of the code that are unlocked in `phase`."""
        return min(phase.dims, int(self.vae.config.c_dim))

    def lr_factor(self, phase: str, step: int) -> float:
        if phase != "vae":
            return 1.0
        current, phase_step = self.phase_at(step)
        return current.lr_factor(phase_step)

    # -------------------------------------------------------------- losses

    def codes(self, batch: TrainingBatch) -> tuple[Posterior, Tensor]:
        """(q(c|x), c ~ q(c|x)) for the images of the batch, computed once. Locked dimensions have N(0, 1) and 0."""

        def encode() -> tuple[Posterior, Tensor]:
            phase, _ = self.phase_at(batch.step)
            images = self.encoder_images(batch)
            if self.in_two_parts:
                posterior = self.posterior_of(self.features(images, phase), phase)
            else:
                posterior = self.vae.encode(images)
            mean = posterior.mean
            unlocked = (torch.arange(mean.shape[1], device=mean.device) < self.unlocked_dims(phase)).to(mean.dtype)
            posterior = Posterior(mean * unlocked, posterior.logvar * unlocked)
            return posterior, posterior.sample(batch.normal(mean.shape[1])) * unlocked

        return batch.once("codes", encode)

    @property
    def in_two_parts(self) -> bool:
        """Whether the code grows in two parts, with an encoder stack each."""
        return self.config.phases[-1].frozen_dims > 0

    def features(self, images: Tensor, phase: Phase) -> Tensor:
        """Last hidden layer of the encoder, (N, F). It is 0 for the stack that `phase` does not use yet."""
        if not self.in_two_parts:
            return self.vae.features(images)
        first, second = cast(TwoStackVAE, self.vae).stacks
        if not phase.frozen_dims:
            features = first(images)
            return torch.cat([features, torch.zeros_like(features)], dim=1)
        with torch.no_grad():
            frozen = first(images)
        return torch.cat([frozen, second(images)], dim=1)

    def posterior_of(self, features: Tensor, phase: Phase) -> Posterior:
        """q(c|x) for `features` (N, F), in float32. Frozen dimensions give no gradients."""
        outputs = self.vae.encoder[-1](features).float().chunk(2, dim=1)
        if frozen := phase.frozen_dims:
            outputs = [torch.cat([each[:, :frozen].detach(), each[:, frozen:]], dim=1) for each in outputs]
        return Posterior(*outputs)

    def vae_losses(self, batch: TrainingBatch) -> Losses:
        posterior, c = self.codes(batch)
        phase, step = self.phase_at(batch.step)
        reconstruction = self.reconstruction(batch, self.config.likelihood)
        kl = terms.kl_divergence(posterior)
        tc = terms.tc_estimate(self.tc_discriminator(c))
        regularizer = phase.beta(step) * kl + phase.tc_weight(step) * tc
        return Losses(reconstruction + regularizer, {"reconstruction": reconstruction, "kl": kl, "tc": tc})

    def tc_discriminator_losses(self, batch: TrainingBatch) -> Losses:
        return tc_discriminator_losses(self.tc_discriminator, self.codes(batch)[1], batch)

    # -------------------------------------------------------------- changes between two steps

    @torch.no_grad()
    def between_steps(
        self, step: int, batches: TrainingImages, optimizers: Mapping[str, Optimizer]
    ) -> dict[str, object]:
        if step == 0:
            locked = range(self.unlocked_dims(self.config.phases[0]), self.vae.config.c_dim)
            alignment.clear_dimensions(self.vae, locked)
            self.clear_unused_stack(self.config.phases[0])
            return {}
        before, last_step = self.phase_at(step - 1)
        done = last_step + 1
        ends = done == before.steps
        interval = before.settle_every
        settles = interval > 0 and (ends or (done < before.steps and done % interval == 0))
        rng = batches.rng(step)
        logged: dict[str, object] = {}
        if settles or (ends and before.align):
            logged = self.align(batches, rng, phase=before, clear_inactive=settles)
        phase, phase_step = self.phase_at(step)
        if ends and phase_step == 0:
            self.start_phase(phase, before, batches, rng, optimizers)
        return logged

    def align(
        self, batches: TrainingImages, rng: Generator, *, phase: Phase, clear_inactive: bool
    ) -> dict[str, object]:
        """Rotate two dimensions onto the axes of their square: those of highest KL that `phase` trains.

        With `clear_inactive`, the inactive dimensions are cleared first.

        Returns:
            For the log: the KL of each dimension, the two dimensions, and the angle in radians.
        """
        _, posterior = self.encode_images(batches, rng, phase)
        kl = posterior.kl().mean(0)
        if clear_inactive:
            inactive = (kl < self.config.inactive_kl).nonzero().flatten().tolist()
            alignment.clear_dimensions(self.vae, inactive)
        trained = kl[phase.frozen_dims : self.unlocked_dims(phase)]
        pair = sorted((phase.frozen_dims + trained.topk(min(2, len(trained))).indices).tolist())
        points = alignment.without_outliers(posterior.mean[:, pair].cpu(), self.config.outliers)
        angle = alignment.square_angle(points) if len(pair) == 2 else 0.0
        if angle:
            alignment.rotate_code(self.vae, pair, alignment.rotation(angle))
        return {"kl_by_dimension": [round(value, 4) for value in kl.tolist()], "aligned": pair, "angle": angle}

    def start_phase(
        self,
        phase: Phase,
        before: Phase,
        batches: TrainingImages,
        rng: Generator,
        optimizers: Mapping[str, Optimizer],
    ) -> None:
        """Unlock the dimensions that `phase` adds to those of `before`. A `fresh` phase gets a new TC discriminator."""
        dims = self.unlocked_dims(before)
        new = range(dims, self.unlocked_dims(phase))
        if new and phase.unlock == "hot":
            features, posterior = self.encode_images(batches, rng, phase)
            alignment.unlock_hot(self.vae, new, features, rng, codes=posterior.mean[:, :dims])
        elif new and phase.unlock in RANDOM_UNLOCKS:
            alignment.unlock_random(self.vae, new, rng, **RANDOM_UNLOCKS[phase.unlock])
        self.clear_unused_stack(phase)
        if phase.fresh:
            for layer in self.tc_discriminator.modules():
                if isinstance(layer, nn.Linear):
                    alignment.reset_linear(layer, rng)
        if phase.fresh or phase.frozen_dims > before.frozen_dims:  # a moment would move frozen weights on
            for optimizer in optimizers.values():
                optimizer.state.clear()

    def clear_unused_stack(self, phase: Phase) -> None:
        """Let no dimension read the second stack as long as `phase` does not train it."""
        if self.in_two_parts and not phase.frozen_dims:
            weight = alignment.posterior_layer(self.vae).weight
            weight[:, weight.shape[1] // 2 :] = 0

    def encode_images(self, batches: TrainingImages, rng: Generator, phase: Phase) -> tuple[Tensor, Posterior]:
        """(last hidden layer of the encoder, q(c|x)) for `config.images` images drawn by `rng`, in float32."""
        size = self.config.images
        counts = [ENCODED_BATCH] * (size // ENCODED_BATCH) + [size % ENCODED_BATCH]
        views = (encoder_view(batches.images(count, rng), self.vae.config.resolution) for count in counts if count)
        views = (x.contiguous(memory_format=torch.channels_last) for x in views)
        features = torch.cat([self.features(x, phase) for x in views]).float()
        return features, self.posterior_of(features, phase)
