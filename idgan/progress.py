"""Progress of long work: a bar on a terminal, a line every 30 seconds in a log file."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

__all__ = ["progress"]

LOG_INTERVAL = 30.0
"""Seconds between two lines of a log."""
LOG_FORMAT = "{desc}: {n_fmt}/{total_fmt} {unit} [{elapsed} elapsed, {remaining} left, {rate_fmt}{postfix}]"


def progress(
    work: Iterable[Any] | int | None,
    desc: str,
    unit: str,
    enabled: bool = True,
    *,
    initial: int = 0,
    leave: bool = True,
) -> tqdm:
    """Show on stderr how far some work is.

    On a terminal this is a bar. Elsewhere it is one line every `LOG_INTERVAL` seconds. Shorter work writes no line.

        for image in progress(images, "encode", "image"): ...

        with progress(1000, "train", "step") as bar:
            bar.update()

    Args:
        work: what to iterate over. Or the number of steps, None if unknown. Then call `update()` after each step.
        desc: what is being done.
        unit: what is counted, in the singular.
        enabled: whether to show anything.
        initial: steps that were done before.
        leave: whether a finished bar stays on the terminal.

    Returns:
        A `tqdm` object. Pass `refresh=False` to its `set_postfix`. Otherwise each call writes a line.
    """
    items, total = (None, work) if work is None or isinstance(work, int) else (work, None)
    options: dict[str, Any] = {
        "desc": desc, "unit": unit, "total": total, "initial": initial, "disable": not enabled,
    }  # fmt: skip
    if sys.stderr.isatty():
        return tqdm(items, leave=leave, **options)
    lines = {"mininterval": LOG_INTERVAL, "maxinterval": LOG_INTERVAL, "miniters": 1, "delay": LOG_INTERVAL}
    return tqdm(items, file=_Lines(sys.stderr), bar_format=LOG_FORMAT, **lines, **options)


class _Lines:
    """A stream that puts each state of a bar on a line of its own, where tqdm would overwrite the last one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ""

    def write(self, text: str) -> None:
        line = text.strip()
        if line and line != self._last:
            self._stream.write(line + "\n")
            self._stream.flush()
            self._last = line

    def flush(self) -> None:
        self._stream.flush()
