"""What a person sees of a stage while it trains: a progress bar, `log.jsonl`, pictures, and TensorBoard where it is installed."""

import json
from contextlib import contextmanager, nullcontext, suppress

from tqdm import tqdm

from idgan.files import write_atomically
from idgan.images import save_png
from idgan.training.distributed import mean_over_processes

__all__ = ["Report", "read_log"]

SHOWN = ("reconstruction", "kl", "tc", "discriminator_loss", "generator_loss", "r_id", "r1", "mig")


class Report:
    """Reports on one stage into `directory`.

    Args:
        title: shown before the progress bar.
        draw: function of no arguments -> PIL image of the current model, or None; called every `picture_every` steps.
        quiet: no progress bar.
        leader: whether this process writes.
    """

    def __init__(self, directory, title, *, draw=None, picture_every=1000, quiet=False, leader=True):
        self.directory = directory
        self.title = title
        self.draw = draw
        self.picture_every = picture_every
        self.quiet = quiet
        self.leader = leader
        self.shown = {}

    @contextmanager
    def open(self, step, steps):
        """Report from `step` on; what an interrupted run logged past it is dropped, for it will be logged again."""
        path = self.directory / "log.jsonl"
        if self.leader:
            write_atomically(
                path, "".join(json.dumps(record) + "\n" for record in read_log(path) if record["step"] <= step)
            )
        disable = True if self.quiet or not self.leader else None  # None: only where there is a terminal
        with (
            tqdm(
                total=steps, initial=step, desc=self.title, unit="step", dynamic_ncols=True, disable=disable
            ) as self.bar,
            open(path, "a") if self.leader else nullcontext() as self.log,
            _tensorboard(self.directory, step) if self.leader else nullcontext() as self.writer,
        ):
            yield

    def step(self, step, logged, *, record):
        """Note that `step` is done; with `record`, write down its scalars (`logged`, name -> tensor), averaged over processes."""
        self.bar.update()
        if record:
            self.record({"step": step, **mean_over_processes(logged)})
        if self.leader and self.draw and step % self.picture_every == 0:
            save_png(self.draw(), self.directory / "samples" / f"step_{step:08d}.png")

    def record(self, values):
        """Append `values` (with "step") to the log, the progress bar and TensorBoard."""
        self.shown |= {name: values[name] for name in SHOWN if name in values}
        self.bar.set_postfix({name: f"{value:.4g}" for name, value in self.shown.items()}, refresh=False)
        if not self.leader:
            return
        self.log.write(json.dumps(values) + "\n")
        self.log.flush()
        if self.writer:
            for name, value in values.items():
                if isinstance(value, (int, float)) and name != "step":
                    self.writer.add_scalar(name, value, values["step"])


def read_log(path):
    """The records of the `log.jsonl` at `path`, dicts with "step"; none if there is no such file. A line that a crash cut short is left out."""
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with suppress(ValueError):
            records.append(json.loads(line))
    return records


def _tensorboard(directory, step):
    """A `SummaryWriter` that drops what an interrupted run wrote past `step`; without TensorBoard, nothing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return nullcontext()
    return SummaryWriter(directory / "tensorboard", purge_step=step + 1)
