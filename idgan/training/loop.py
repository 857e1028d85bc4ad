"""The one training loop: any objective, phase by phase, resumable to the bit."""

import math
import signal
import threading
import time
import warnings
from contextlib import nullcontext

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from idgan.data import Prefetcher
from idgan.errors import DivergedError, RunMismatchError
from idgan.training import distributed
from idgan.training.checkpoint import differences, load_state, save_state
from idgan.training.precision import Compiled, float32_products, has_bf16

__all__ = ["Trainer", "gradients"]

LOG_EVERY = 50
"""Losses are recorded, and a divergence looked for, at the first of every so many steps: lazy terms (R1) start at the first step too."""
DIVERGED = 1e12


class Trainer:
    """Trains `objective` by the settings of `stage` on `batches`, keeping everything that resuming needs in the file `path`.

    A batch is a function of its step, so the state is only: networks, optimizers, moving average, the best weights, the step.
    Interrupted at any moment and started again, on a CPU the run ends with the same bits as one that was never interrupted, if it computes
    with as many threads, and with compiled networks again if it did.

    Args:
        path: None for a trainer that only takes steps, and keeps nothing.
        identity: what else the result depends on, a flat dict of plain values. It is stored in `path`, where another is refused; what an
            older state does not name is taken to be the same.
        judge: for `stage.select_every`: a function of no arguments giving the current score (higher is better) and a dict to record.
        keep: the network whose best weights are kept.
        report: a `Report`.
        save_seconds: time between two saves of the state. It does not influence the result.
        leader: whether this process writes files.
        compile: compute with compiled networks, but for the steps of a phase that differentiate twice (R1): True, or a backend of
            `torch.compile`.
    """

    def __init__(
        self,
        stage,
        objective,
        batches,
        path,
        *,
        identity,
        report,
        judge=None,
        keep=None,
        save_seconds=60.0,
        leader=True,
        compile=False,
    ):
        self.stage = stage
        self.objective = objective.to(memory_format=torch.channels_last).train()
        self.batches = batches
        self.path = path
        self.identity = identity
        self.report = report
        self.judge = judge
        self.keep = keep
        self.save_seconds = save_seconds
        self.leader = leader
        self.bf16 = stage.precision == "bf16" and has_bf16(next(objective.parameters()).device)
        if stage.precision == "bf16" and not self.bf16 and leader:
            warnings.warn("this device has no bf16 arithmetic: training in fp32 instead", stacklevel=3)
        self.parameters = {phase: objective.parameters_of(phase) for phase in objective.phases}
        self.optimizers = {phase: stage.optimizers[phase].build(self.parameters[phase]) for phase in objective.phases}
        self.ema = (
            AveragedModel(objective.generator, multi_avg_fn=get_ema_multi_avg_fn(stage.ema_decay))
            if stage.ema_decay
            else None
        )
        self.compiled = Compiled(objective, "inductor" if compile is True else compile) if compile else nullcontext()
        self.step = 0
        self.seconds = 0.0
        self.best = {"score": -math.inf, "step": 0, "weights": {}}
        if path is not None and path.exists():
            self.restore(load_state(path))

    # -------------------------------------------------------------- state

    def state(self):
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

    def restore(self, state):
        """Continue from `state`.

        Raises:
            RunMismatchError: it was made from something else; the message lists the fields that differ.
        """
        if changed := differences(self.identity | state["identity"], self.identity):
            raise RunMismatchError(
                f"{self.path} was made from something else ({changed}); delete it to start this stage again"
            )
        self.objective.load_state_dict(state["objective"])
        for phase, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][phase])
            for (
                parameter,
                moments,
            ) in optimizer.state.items():  # fused kernels walk memory: moments must lie as their parameter does
                moments.update(
                    {
                        name: torch.empty_like(parameter).copy_(m)
                        for name, m in moments.items()
                        if m.shape == parameter.shape
                    }
                )
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        self.step, self.seconds, self.best = state["step"], state["seconds"], state["best"]

    # -------------------------------------------------------------- training

    def train_step(self, batch):
        """Run every phase of the objective on `batch`; -> name -> logged scalar tensor, and each phase's loss under its name."""
        batch.x = batch.x.contiguous(memory_format=torch.channels_last)
        parts = batch.split(self.stage.accumulation_steps) if self.stage.accumulation_steps > 1 else [batch]
        logged = {}
        for phase in self.objective.phases:
            self.optimizers[phase].zero_grad()
            with nullcontext() if self.objective.differentiates_twice(phase, batch.step) else self.compiled:
                logged |= gradients(self.objective, phase, parts, self.parameters[phase], self.bf16)
            distributed.average_gradients(self.parameters[phase])
            self.optimizers[phase].step()
        if self.ema:
            self.ema.update_parameters(self.objective.generator)
        return logged

    def fit(self):
        """Train until `stage.steps`, from wherever the state stands.

        Raises:
            DivergedError: a loss is no longer a sensible number. The last saved state is intact.
            KeyboardInterrupt, SystemExit: on SIGINT and SIGTERM, after saving the state.
        """
        saved = started = time.monotonic()
        before = self.seconds
        with (
            self.report.open(self.step, self.stage.steps),
            float32_products(tf32=self.stage.precision == "tf32"),
            Prefetcher(self.batches, self.stage.steps) as batches,
            _Signals() as signals,
        ):
            while self.step < self.stage.steps:
                logged = self.train_step(batches(self.step))
                self.step += 1
                self.seconds = before + time.monotonic() - started
                finished = self.step == self.stage.steps
                stopping = distributed.any_process(signals.received is not None)
                saving = finished or stopping or time.monotonic() - saved >= self.save_seconds
                recording = finished or (self.step - 1) % LOG_EVERY == 0
                selecting = self.stage.select_every and self.step % self.stage.select_every == 0
                if recording or selecting or saving:
                    self.check(logged)
                self.report.step(self.step, logged, record=recording)
                if selecting:
                    self.select()
                if saving:
                    if self.leader:
                        save_state(self.path, self.state())
                    saved = time.monotonic()
                if stopping:
                    signals.leave(f"stopped at step {self.step}; the same command continues from there")
        distributed.barrier()  # the file is there for whoever reads it next

    def check(self, logged):
        """Stop the run if a phase's loss is not finite or absurdly large."""
        values = {f"the loss of phase {phase!r}": logged[phase].item() for phase in self.objective.phases}
        for phase, parameters in self.parameters.items():  # a finite loss can have had gradients that were not
            values[f"the norm of the parameters of phase {phase!r}"] = torch.nn.utils.get_total_norm(parameters).item()
        for what, value in values.items():
            if not abs(value) < DIVERGED:
                raise DivergedError(
                    f"{what} is {value} at step {self.step}: training has diverged. The last saved state "
                    f"({self.path if self.path.exists() else 'none yet'}) is from before; a lower learning rate or fp32 may help (--set)"
                )

    def select(self):
        """Measure the current weights and keep them if they are the best so far."""
        self.objective.eval()
        score, measured = self.judge()
        self.objective.train()
        self.report.record({"step": self.step, **measured})
        if score > self.best["score"]:
            weights = {name: tensor.detach().clone() for name, tensor in self.keep.state_dict().items()}
            self.best = {"score": score, "step": self.step, "weights": weights}


def gradients(objective, phase, parts, parameters, bf16=False):
    """Add to the gradients of `parameters` those of the mean loss of `phase` over `parts`, the batches that together are a step's.

    Returns:
        name -> logged scalar tensor, and the loss under the name of the phase: means over the parts.
    """
    logged = {}
    for part in parts:
        with torch.autocast(part.x.device.type, torch.bfloat16) if bf16 else nullcontext():
            losses = objective.losses(phase, part)
        (losses.total / len(parts)).backward(inputs=parameters)  # of others, nothing is computed
        for name, value in (losses.logged | {phase: losses.total}).items():
            logged.setdefault(name, []).append(value.detach())
    return {name: torch.stack(values).mean() for name, values in logged.items()}


class _Signals:
    """Context manager: notes the first SIGINT or SIGTERM in `received` instead of dying of it; a second one acts as usual."""

    def __init__(self):
        self.received = None

    def __enter__(self):
        self.handlers = {}
        if threading.current_thread() is threading.main_thread():
            self.handlers = {number: signal.signal(number, self.note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception):
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def note(self, number, frame):
        self.received = number
        signal.signal(number, self.handlers[number])

    def leave(self, message):
        """End as the signal asked."""
        raise SystemExit(message) if self.received == signal.SIGTERM else KeyboardInterrupt(message)
