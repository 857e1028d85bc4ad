"""What an objective is: named phases over networks, each phase with a loss and the parameters it moves."""

from dataclasses import dataclass, field

from torch import Tensor, nn

__all__ = ["Losses", "Objective"]


@dataclass
class Losses:
    """One phase's outcome: `total`, the scalar to minimize, and `logged`, name -> scalar tensor, for people to read."""

    total: Tensor
    logged: dict = field(default_factory=dict)


class Objective(nn.Module):
    """A training objective: networks, `phases` run in order on every batch, and for each phase a loss and who it moves.

    A phase is named after the network it moves, and its loss is the method `<phase>_losses(batch)`.
    The training loop knows nothing else. Adaptive state lives in buffers, so `state_dict()` is all that resuming needs.

    A batch has `x` (N, C, H, W) in [0, 1], `step`, `data_size`, the number of training images, `normal(k)` and `uniform(k)` -> (N, k) noise, and
    `once(name, make)`, which computes a value once for all phases of the batch.
    """

    phases = ()
    prior = "aggregated"
    """Where the codes of the trained networks come from: the aggregated "aggregated" of the encoder, or the "normal" distribution N(0, I)."""

    def losses(self, phase, batch):
        """`Losses` of `phase` on `batch`."""
        return getattr(self, f"{phase}_losses")(batch)

    def differentiates_twice(self, phase, step):
        """Whether the losses of `phase` at `step` hold gradients (R1), which compiled networks do not offer."""
        return False

    def networks(self, phase):
        """The modules whose parameters `phase` moves; all others get no gradients in it. An objective that moves several says so here."""
        return [getattr(self, phase)]

    def parameters_of(self, phase):
        """The parameters `phase` moves, as a list."""
        return [parameter for network in self.networks(phase) for parameter in network.parameters()]
