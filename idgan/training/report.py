"""The reports of a stage during training: progress, `log.jsonl`, pictures, and TensorBoard if installed."""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from idgan.errors import RunError
from idgan.files import read_regular_file, write_atomically
from idgan.images import save_png
from idgan.progress import progress
from idgan.training.distributed import mean_over_processes

__all__ = ["LOG_FILE", "Report", "read_log"]

LOG_FILE = "log.jsonl"
SHOWN = ("reconstruction", "kl", "tc", "discriminator_loss", "generator_loss", "r_id", "r1", "mig")
"""Scalars that the progress bar shows."""


class Report:
    """Reports on one stage into `directory`.

    Args:
        directory: where the log and the pictures go.
        title: shown with the progress.
        draw: function without arguments that returns a picture of the current model. None draws nothing.
        picture_interval: steps between two pictures.
        quiet: show no progress.
        leader: whether this process writes.
    """

    def __init__(
        self,
        directory: Path,
        title: str,
        *,
        draw: Callable[[], Image.Image] | None = None,
        picture_interval: int = 1000,
        quiet: bool = False,
        leader: bool = True,
    ) -> None:
        self.directory = directory
        self.title = title
        self.draw = draw
        self.picture_interval = picture_interval
        self.quiet = quiet
        self.leader = leader
        self.shown: dict[str, float] = {}

    @contextmanager
    def open(self, step: int, steps: int) -> Iterator[None]:
        """Report from `step` on. Records of later steps, which an interrupted run left, are dropped from the log."""
        path = self.directory / LOG_FILE
        if self.leader:
            kept = [json.dumps(record) + "\n" for record in read_log(path) if record["step"] <= step]
            write_atomically(path, "".join(kept))
        with (
            progress(steps, self.title, "step", not self.quiet and self.leader, initial=step) as self.bar,
            open(path, "a") if self.leader else nullcontext() as self.log,
            _tensorboard(self.directory, step) if self.leader else nullcontext() as self.writer,
        ):
            yield

    def step(self, step: int, logged: Mapping[str, Tensor], *, record: bool) -> dict[str, float]:
        """Note that `step` is done. With `record`, write the scalars `logged`, averaged over the processes.

        A picture that cannot be drawn or written is left out, with a warning. The GPU may have no memory left for it.

        Returns:
            The averaged scalars as numbers. Empty without `record`.
        """
        self.bar.update()
        losses = mean_over_processes(logged) if record else {}
        if record:
            self.record({"step": step, **losses})
        if self.leader and self.draw and step % self.picture_interval == 0:
            try:
                save_png(self.draw(), self.directory / "samples" / f"step_{step:08d}.png")
            except Exception as error:  # hours of training are worth more than a picture
                reason = f"{type(error).__name__}: {error}"
                warnings.warn(f"no picture of step {step:,} was made ({reason:.300}); training goes on", stacklevel=2)
        return losses

    def record(self, values: Mapping[str, Any]) -> None:
        """Append `values`, which include "step", to the log, the progress bar and TensorBoard."""
        self.shown |= {name: values[name] for name in SHOWN if name in values}
        self.bar.set_postfix({name: f"{value:.4g}" for name, value in self.shown.items()}, refresh=False)
        if not self.log:
            return
        self.log.write(json.dumps(values) + "\n")
        self.log.flush()
        if self.writer:
            for name, value in values.items():
                if isinstance(value, (int, float)) and name != "step":
                    self.writer.add_scalar(name, value, values["step"])


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of the `log.jsonl` at `path`, dicts with an integer "step". Empty if there is no such file.

    A crash can cut the last line short. Such a line is left out.

    Raises:
        RunError: another line is damaged, or it is not a regular file.
    """
    try:
        lines = read_regular_file(path).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            records.append(record)
        elif number < len(lines):
            raise RunError(f"line {number} of {path} is damaged ({line!r:.100}); delete that line and run again")
    return records


def _tensorboard(directory: Path, step: int) -> Any:
    """A `SummaryWriter` that drops what an interrupted run wrote after `step`. A null context without TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return nullcontext()
    return SummaryWriter(directory / "tensorboard", purge_step=step + 1)
