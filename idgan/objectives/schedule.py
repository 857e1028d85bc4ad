"""Schedules of a growing VAE: its phases, and the schedules of the recipes."""

from dataclasses import dataclass

from idgan.errors import InvalidInputError, check_integer, check_range

__all__ = ["Phase", "growing_phases", "growing_phases_in_two_parts"]

UNLOCKS = ("none", "cold", "full", "hot")


@dataclass(frozen=True)
class Phase:
    """One phase in the schedule of `GrowingVAE`.

    Attributes:
        steps: length of the phase.
        dims: number of unlocked dimensions, with those of earlier phases.
        unlock: initial weights of new dimensions. "cold" draws small random weights, and "full" large ones. "hot" reads
            what the code does not contain yet. "none" adds no dimensions.
        frozen_dims: the encoder of the first `frozen_dims` dimensions is no longer trained. 0 freezes nothing. See
            `GrowingVAE`.
        beta_start, beta_end, beta_steps: weight of the KL. It changes linearly in the first `beta_steps` steps and is
            constant afterwards.
        tc_weight_start, tc_weight_end, tc_weight_steps: weight of the total correlation, in the same way.
        lr_start, lr_end: learning rate of the VAE, as factors of that of its optimizer. It changes linearly over the
            phase.
        warmup_steps: number of first steps in which the learning rate rises from 0.
        fresh: whether the phase starts with a new TC discriminator and new moments of the optimizers. The first phase
            with `frozen_dims` has new moments in any case.
        align: whether the two dimensions of highest KL are rotated onto the axes of a square at the end of the phase.
        settle_every: interval in steps between clearings of the inactive dimensions, each followed by a rotation as for
            `align`. The last step of the phase has one too. 0 does neither.

    Raises:
        InvalidInputError: `unlock` is unknown, or a number is out of range.
    """

    steps: int
    dims: int
    unlock: str = "none"
    frozen_dims: int = 0
    beta_start: float = 4.0
    beta_end: float = 4.0
    beta_steps: int = 0
    tc_weight_start: float = 0.0
    tc_weight_end: float = 0.0
    tc_weight_steps: int = 0
    lr_start: float = 1.0
    lr_end: float = 1.0
    warmup_steps: int = 200
    fresh: bool = True
    align: bool = False
    settle_every: int = 0

    def __post_init__(self) -> None:
        if self.unlock not in UNLOCKS:
            raise InvalidInputError(f"unlock must be one of {', '.join(UNLOCKS)}, got {self.unlock!r:.100}")
        check_integer(1, steps=self.steps, dims=self.dims)
        check_range(0, beta_start=self.beta_start, beta_end=self.beta_end, lr_start=self.lr_start, lr_end=self.lr_end)
        check_range(0, tc_weight_start=self.tc_weight_start, tc_weight_end=self.tc_weight_end)
        check_integer(0, beta_steps=self.beta_steps, tc_weight_steps=self.tc_weight_steps)
        check_integer(0, frozen_dims=self.frozen_dims)
        check_integer(0, warmup_steps=self.warmup_steps, settle_every=self.settle_every)

    def beta(self, step: int) -> float:
        """Weight of the KL at `step` of the phase."""
        return _ramp(self.beta_start, self.beta_end, self.beta_steps, step)

    def tc_weight(self, step: int) -> float:
        """Weight of the total correlation at `step` of the phase."""
        return _ramp(self.tc_weight_start, self.tc_weight_end, self.tc_weight_steps, step)

    def lr_factor(self, step: int) -> float:
        """Factor of the VAE's learning rate at `step` of the phase."""
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        return warmup * _ramp(self.lr_start, self.lr_end, self.steps, step)


def _ramp(start: float, end: float, steps: int, step: int) -> float:
    return start + (end - start) * (min(1.0, step / steps) if steps else 1.0)


def growing_phases(steps: int = 9_000) -> tuple[Phase, ...]:
    """The schedule for dSprites. It lasts for `steps`, and for 4,250 steps at least.

    Two dimensions learn position, and a third learns scale. The fourth learns shape and the orientation of the longest
    shape. It learns fast and alone, because two dimensions at once would share this information in a ring. Then the
    four settle for the remaining time. The fifth is unlocked slowly, so that the others keep their information. A sixth
    improved nothing (docs/results.md).
    """
    before = (
        Phase(steps=700, dims=2, beta_start=8.0, beta_end=8.0, align=True),
        Phase(steps=500, dims=2, beta_start=8.0, beta_end=4.0, beta_steps=500, align=True),
        Phase(steps=1_400, dims=3, unlock="cold", tc_weight_end=20.0, tc_weight_steps=400),
        *_fast_phases(dims=4, tc_weight=35.0),
    )
    last = Phase(
        steps=450,
        dims=5,
        unlock="hot",
        tc_weight_end=35.0,
        tc_weight_steps=100,
        lr_start=0.5,
        lr_end=0.05,
        warmup_steps=50,
        settle_every=500,
    )
    return (*before, _settling_phase(_remaining(steps, *before, last), dims=4, tc_weight=35.0), last)


def growing_phases_in_two_parts(steps: int = 11_000) -> tuple[Phase, ...]:
    """The schedule for Scream-dSprites. It lasts for `steps`, and for 8,700 steps at least.

    Four dimensions learn the background. Their encoder is then frozen. The others read a second stack of the encoder as
    well. Two of them learn position, and a third learns scale. The fourth is unlocked last and learned another property
    of the background.
    """
    before = (
        Phase(steps=800, dims=2),
        Phase(steps=2_200, dims=4, unlock="cold", beta_start=1.0, beta_end=1.0),
        Phase(steps=2_500, dims=6, unlock="full", frozen_dims=4, align=True),
        Phase(
            steps=2_000,
            dims=7,
            unlock="cold",
            frozen_dims=4,
            tc_weight_end=20.0,
            tc_weight_steps=400,
            align=True,
        ),
        *_fast_phases(dims=8, frozen_dims=4, tc_weight=20.0),
    )
    return (*before, _settling_phase(_remaining(steps, *before), dims=8, frozen_dims=4, tc_weight=20.0))


def _fast_phases(*, dims: int, tc_weight: float, frozen_dims: int = 0) -> tuple[Phase, Phase]:
    """A hot dimension becomes active with a low beta. Then beta and the weight of the total correlation rise."""
    unlocking = Phase(
        steps=500,
        dims=dims,
        unlock="hot",
        frozen_dims=frozen_dims,
        beta_start=2.0,
        beta_end=2.0,
        tc_weight_end=15.0,
        tc_weight_steps=300,
        warmup_steps=100,
    )
    rising = Phase(
        steps=200,
        dims=dims,
        frozen_dims=frozen_dims,
        beta_start=2.0,
        beta_steps=200,
        tc_weight_start=15.0,
        tc_weight_end=tc_weight,
        tc_weight_steps=200,
        warmup_steps=100,
    )
    return unlocking, rising


def _settling_phase(steps: int, *, dims: int, tc_weight: float, frozen_dims: int = 0) -> Phase:
    """The learning rate falls, and the axes are aligned every 500 steps."""
    return Phase(
        steps=steps,
        dims=dims,
        frozen_dims=frozen_dims,
        tc_weight_start=tc_weight,
        tc_weight_end=tc_weight,
        lr_end=0.05,
        warmup_steps=0,
        fresh=False,
        settle_every=500,
    )


def _remaining(steps: int, *phases: Phase) -> int:
    """What `phases` leave of `steps`, and 500 at least."""
    return max(500, steps - sum(phase.steps for phase in phases))
