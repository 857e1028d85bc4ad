"""The training loop for every objective, phase by phase. A resumed run ends with the same bits."""

import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from idgan.data import Batch, Batches, Prefetcher
from idgan.errors import DivergedError, RunError, RunMismatchError
from idgan.objectives import Objective
from idgan.recipes import Stage
from idgan.rng import make_rng
from idgan.training import distributed
from idgan.training.callbacks import Callbacks
from idgan.training.checkpoint import differences, load_state, save_state
from idgan.training.precision import Compiled, float32_products, has_bf16
from idgan.training.report import Report
from idgan.training.setup import seeded

__all__ = ["Trainer", "gradients", "phases_at"]

LOG_INTERVAL = 50
"""Steps between two records of the losses, from the first step on. Divergence is checked at the same steps."""
MAX_LOSS = 1e12
"""A loss above this has diverged."""

SelectScore = Callable[[], tuple[float, dict[str, Any]]]


class Trainer:
    """Trains `objective` with the settings of `stage`, and keeps everything that resuming needs in one file.

    A batch is a function of its step. The state is therefore only networks, optimizers, moving average, best weights
    and step. A run that is interrupted at any moment and started again ends with the same bits on a CPU, with as many
    threads and the same choice of `compile`.

    Args:
        stage: settings.
        objective: what to train.
        batches: function of the step that returns a `Batch`.
        path: file of the state. None keeps nothing, for a trainer that only takes steps.
        identity: flat dict of plain values on which the result also depends. It is stored in the state. A state with
            other values is refused. Values that an older state lacks are taken as equal.
        report: None for a trainer that only takes steps.
        select_score: function without arguments for `stage.select_every`. It returns the current score (higher is
            better) and values to record.
        selected_network: the best weights of this network are kept.
        callbacks: are told of each step. If one fails, the state is saved.
        save_seconds: time between two saves of the state. It does not influence the result.
        leader: whether this process writes files.
        compile: True, or a backend of `torch.compile`, computes with compiled networks. Phases that differentiate twice
            (R1) are not compiled.
    """

    def __init__(
        self,
        stage: Stage,
        objective: Objective,
        batches: Batches,
        path: Path | None,
        *,
        identity: Mapping[str, Any],
        report: Report | None,
        select_score: SelectScore | None = None,
        selected_network: nn.Module | None = None,
        callbacks: Callbacks | None = None,
        save_seconds: float = 60.0,
        leader: bool = True,
        compile: bool | str | Callable[..., Any] = False,
    ) -> None:
        self.stage = stage
        self.memory_format = memory_format_of(objective)
        self.objective: Any = objective.to(memory_format=self.memory_format).train()  # Any: its networks differ
        self.batches = batches
        self.path = path
        self.identity = identity
        self.report = report
        self.select_score = select_score
        self.selected_network = selected_network
        self.callbacks = callbacks or Callbacks()
        self.save_seconds = save_seconds
        self.leader = leader
        self.bf16 = stage.precision == "bf16" and has_bf16(next(objective.parameters()).device)
        if stage.precision == "bf16" and not self.bf16 and leader:
            warnings.warn("this device has no bf16 arithmetic; training uses fp32 instead", stacklevel=3)
        self.parameters = {phase: objective.parameters_of(phase) for phase in objective.phases}
        self.optimizers = {phase: stage.optimizers[phase].build(self.parameters[phase]) for phase in objective.phases}
        # Before `restore`, because a state has the rates of its own step.
        self.rates = {name: [group["lr"] for group in each.param_groups] for name, each in self.optimizers.items()}
        self.ema = None
        if stage.ema_decay:
            average = get_ema_multi_avg_fn(stage.ema_decay)
            self.ema = AveragedModel(cast(nn.Module, objective.generator), multi_avg_fn=average)
        self.compiled: AbstractContextManager[Any] = nullcontext()
        if compile:
            self.compiled = Compiled(objective, "inductor" if compile is True else compile)
        self.step = 0
        self.seconds = 0.0
        self.best: dict[str, Any] = {"score": -math.inf, "step": 0, "weights": {}}
        if path is not None and path.exists():
            self.restore(load_state(path))

    # -------------------------------------------------------------- state

    def state(self) -> dict[str, Any]:
        """Everything that resuming needs, as a nest of tensors and plain values."""
        return {
            "identity": self.identity,
            "step": self.step,
            "seconds": self.seconds,
            "objective": self.objective.state_dict(),
            "optimizers": {phase: optimizer.state_dict() for phase, optimizer in self.optimizers.items()},
            "ema": self.ema.state_dict() if self.ema else {},
            "best": self.best,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`.

        Raises:
            RunMismatchError: the state has another identity. The message lists the differences.
            RunError: the state does not fit the objective.
        """
        try:
            changed = differences(self.identity | state["identity"], self.identity)
        except (KeyError, TypeError) as error:
            raise self._damaged(error) from error
        if changed:
            raise RunMismatchError(
                f"{self.path} belongs to another run ({changed}); delete it to start this stage again"
            )
        try:
            self._restore(state)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise self._damaged(error) from error

    def _restore(self, state: dict[str, Any]) -> None:
        self.objective.load_state_dict(state["objective"])
        for phase, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][phase])
            for parameter, values in optimizer.state.items():
                for name, value in values.items():
                    if value.shape == parameter.shape:  # fused kernels need the memory layout of the parameter
                        values[name] = torch.empty_like(parameter).copy_(value)
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        self.step, self.seconds, self.best = state["step"], state["seconds"], state["best"]

    def _damaged(self, error: Exception) -> RunError:
        reason = " ".join(str(error).split())
        return RunError(f"{self.path} is no state of this stage ({reason:.200}); delete it to start this stage again")

    # -------------------------------------------------------------- training

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """Run the phases of the objective on `batch`.

        Returns:
            Name -> logged scalar tensor, and the loss of each phase that runs under the name of the phase.
        """
        batch.x = batch.x.contiguous(memory_format=self.memory_format)
        parts = batch.split(self.stage.accumulation_steps) if self.stage.accumulation_steps > 1 else [batch]
        logged: dict[str, Tensor] = {}
        for phase in phases_at(self.objective, batch.step):
            self.optimizers[phase].zero_grad()
            with nullcontext() if self.objective.differentiates_twice(phase, batch.step) else self.compiled:
                logged |= gradients(self.objective, phase, parts, self.parameters[phase], self.bf16)
            distributed.average_gradients(self.parameters[phase])
            self.set_rates(phase, batch.step)
            self.optimizers[phase].step()
        if self.ema:
            self.ema.update_parameters(self.objective.generator)
        return logged

    def warn_of_idle_phases(self) -> None:
        """Warn if the stage would end before one of its phases begins."""
        running = phases_at(self.objective, self.stage.steps - 1)
        idle = [phase for phase in self.objective.phases if phase not in running]
        if idle and self.leader:
            warnings.warn(
                f"the stage has {self.stage.steps:,} steps and ends before the phase {' and '.join(map(repr, idle))} "
                "begins; give it more steps, or let that phase begin earlier (see the settings of the objective)",
                stacklevel=4,
            )

    def set_rates(self, phase: str, step: int) -> None:
        """Set the learning rate of `phase` for `step`, if the objective or a cooldown changes it."""
        changes, cooldown = hasattr(self.objective, "lr_factor"), self.stage.cooldown_steps
        if not (changes or cooldown):  # an optimizer of a user's own may have a schedule
            return
        factor = self.objective.lr_factor(phase, step) if changes else 1.0
        if cooldown:
            factor *= min(1.0, (self.stage.steps - step) / min(cooldown, self.stage.steps))
        for group, rate in zip(self.optimizers[phase].param_groups, self.rates[phase], strict=True):
            group["lr"] = rate * factor

    def between_steps(self) -> dict[str, Any]:
        """Let the objective change its networks, if it does that. The result is for the log."""
        if not hasattr(self.objective, "between_steps"):
            return {}
        changes: dict[str, Any] = self.objective.between_steps(self.step, self.batches, self.optimizers)
        return changes

    def fit(self) -> None:
        """Train from the current step to `stage.steps`.

        Raises:
            DivergedError: a loss is not finite or too large. The last saved state is intact.
            KeyboardInterrupt, SystemExit: after SIGINT or SIGTERM, when the state is saved.
            BaseException: that of a callback, when the state is saved. Other processes raise SystemExit.
        """
        assert self.report and self.path
        self.warn_of_idle_phases()
        saved = started = time.monotonic()
        before = self.seconds
        with (
            self.report.open(self.step, self.stage.steps),
            float32_products(tf32=self.stage.precision == "tf32"),
            Prefetcher(self.batches, self.stage.steps) as batches,
            _Signals() as signals,
        ):
            if self.step == 0:
                self.between_steps()
            while self.step < self.stage.steps:
                # Layers such as dropout draw from the global generator.
                with seeded(make_rng(self.batches.seed, self.step).initial_seed()):
                    logged = self.train_step(batches(self.step))
                self.step += 1
                changes = self.between_steps()
                self.seconds = before + time.monotonic() - started
                finished = self.step == self.stage.steps
                recording = finished or (self.step - 1) % LOG_INTERVAL == 0
                selecting = bool(self.stage.select_every) and self.step % self.stage.select_every == 0
                if recording or selecting:
                    self.check_losses(logged)
                losses = self.report.step(self.step, logged, record=recording)
                if changes:
                    self.report.record({"step": self.step, **changes})
                if selecting:
                    self.select_weights()
                failure = self.callbacks.call("on_step", self.step, losses)
                stopping = distributed.any_process(signals.received is not None or failure is not None)
                saving = finished or stopping or time.monotonic() - saved >= self.save_seconds
                if saving and not (recording or selecting):
                    self.check_losses(logged)
                if saving:
                    try:
                        if self.leader:
                            save_state(self.path, self.state())
                    finally:
                        if stopping:  # no process ends before the state is written
                            distributed.barrier()
                    saved = time.monotonic()
                if failure:
                    raise failure
                if stopping:
                    signals.leave(f"stopped at step {self.step}; the same command continues from there", self.leader)
        distributed.barrier()  # no process reads the state before it is written

    def check_losses(self, logged: Mapping[str, Tensor]) -> None:
        """Stop the run if a loss or a parameter is not finite or too large.

        Raises:
            DivergedError: names the value and the last saved state.
        """
        ran = [phase for phase in self.objective.phases if phase in logged]
        values = {f"the loss of phase {phase!r}": logged[phase].item() for phase in ran}
        for phase, parameters in self.parameters.items():  # gradients can be infinite although the loss is finite
            values[f"the norm of the parameters of phase {phase!r}"] = nn.utils.get_total_norm(parameters).item()
        for what, value in values.items():
            if not abs(value) < MAX_LOSS:
                kept = self.path if self.path is not None and self.path.exists() else "none yet"
                raise DivergedError(
                    f"{what} is {value} at step {self.step}: training has diverged. The last saved state ({kept}) is "
                    "from before. A lower learning rate or fp32 may help (--set)"
                )

    def select_weights(self) -> None:
        """Compute the score of the current weights, and keep them if they are the best so far."""
        assert self.select_score and self.selected_network and self.report
        self.objective.eval()
        score, measured = self.select_score()
        self.objective.train()
        self.report.record({"step": self.step, **measured})
        if score > self.best["score"]:
            weights = {name: tensor.detach().clone() for name, tensor in self.selected_network.state_dict().items()}
            self.best = {"score": score, "step": self.step, "weights": weights}


def phases_at(objective: Objective, step: int) -> list[str]:
    """The phases of `objective` that run at `step`, in order."""
    skips = getattr(objective, "skips_phase", None)
    return [phase for phase in objective.phases if skips is None or not skips(phase, step)]


def gradients(
    objective: Objective, phase: str, parts: Sequence[Batch], parameters: Sequence[nn.Parameter], bf16: bool = False
) -> dict[str, Tensor]:
    """Add the gradients of the mean loss of `phase` to `parameters`.

    Args:
        parts: batches that together are the batch of a step.
        bf16: use autocast.

    Returns:
        Name -> logged scalar tensor, and the loss under the name of the phase. Both are means over the parts.
    """
    logged: dict[str, list[Tensor]] = {}
    for part in parts:
        with torch.autocast(part.x.device.type, torch.bfloat16) if bf16 else nullcontext():
            losses = objective.losses(phase, part)
        (losses.total / len(parts)).backward(inputs=parameters)  # computes no gradients of other parameters
        for name, value in (losses.logged | {phase: losses.total}).items():
            logged.setdefault(name, []).append(value.detach())
    return {name: values[0] if len(values) == 1 else torch.stack(values).mean() for name, values in logged.items()}


def memory_format_of(objective: nn.Module) -> torch.memory_format:
    """Channels last, which is faster. But channels first on a GPU, if a network has an `nn.AvgPool2d` with padding.

    On CUDA, PyTorch's padded pooling has wrong gradients if channels are last in memory
    (https://github.com/pytorch/pytorch/issues/188344; fixed by pull request 188345).
    """
    on_cpu = next(objective.parameters()).device.type == "cpu"
    pools = [module for module in objective.modules() if isinstance(module, nn.AvgPool2d)]
    if on_cpu or all(pool.padding in (0, (0, 0)) for pool in pools):
        return torch.channels_last
    return torch.contiguous_format


class _Signals:
    """Context manager that notes the first SIGINT or SIGTERM in `received`.

    A second signal of the same kind acts as usual. Under a launcher, a process ignores it: on Ctrl-C, the terminal and
    the launcher both send one.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.handlers: dict[int, Any] = {}

    def __enter__(self) -> "_Signals":
        if threading.current_thread() is threading.main_thread():
            self.handlers = {number: signal.signal(number, self.note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def note(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self.received = number
        if not torch.distributed.is_initialized():
            signal.signal(number, self.handlers[number])

    def leave(self, message: str, leader: bool) -> None:
        """End as the signal asked. Of several processes, only the leader gives the message."""
        if not leader:
            raise SystemExit(1)
        raise SystemExit(message) if self.received == signal.SIGTERM else KeyboardInterrupt(message)
