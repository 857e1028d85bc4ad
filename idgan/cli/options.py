"""Options and arguments that several commands share."""

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from idgan.errors import IdganError, InvalidInputError
from idgan.registry import import_object

if TYPE_CHECKING:
    from idgan.sampler import Sampler

__all__ = [
    "ANIMATIONS",
    "ARGUMENTS",
    "PICTURES",
    "DatasetArgument",
    "InputPath",
    "OutputDirectory",
    "OutputFile",
    "OutputPlace",
    "SuggestingGroup",
    "align_both_options",
    "align_options",
    "busy_note",
    "check_output",
    "crop_options",
    "data_option",
    "default_out",
    "device_option",
    "duration",
    "idle_threads_option",
    "if_decoder",
    "load_model",
    "model_argument",
    "parse_changes",
    "parse_dims",
    "parse_numbers",
    "results_table",
    "say_json",
    "threads_option",
    "title_of",
]

ARGUMENTS = "idgan.arguments"
"""Key of `click.Context.meta` for the whole command line, a list of text."""
MAX_NUMBERS = 100_000
"""Largest number of seeds or dimensions in one option."""
MAX_THREADS = 1024

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
"""Suffixes of the picture files that commands write."""
ANIMATIONS = (".gif", ".mp4")
"""Suffixes of the animation files that commands write."""

Command = Callable[..., Any]


# ------------------------------------------------------------------ suggestions


class SuggestingGroup(click.Group):
    """A group that suggests the closest command for an unknown one, and the closest choice of an option."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        close = get_close_matches(args[0], known, n=1)
        if close and args[0] not in known and not ctx.resilient_parsing:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.BadParameter as error:
            choices = getattr(error.param and error.param.type, "choices", ())
            wrong = re.match(r"'(.+?)' is not one of", error.message)
            close = get_close_matches(wrong[1].lower(), map(str, choices), n=1) if wrong else []
            if not close or "Did you mean" in error.message:
                raise
            hint = f"{error.message} Did you mean {close[0]!r}?"
            raise click.BadParameter(hint, error.ctx, error.param, error.param_hint) from error


# ------------------------------------------------------------------ paths


class InputPath(click.Path):
    """An existing file, or directory if `dir_okay`. `~` is the home directory."""

    def __init__(self, dir_okay: bool = False) -> None:
        super().__init__(exists=True, dir_okay=dir_okay)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(os.path.expanduser(value), param, ctx)


class DatasetArgument(click.ParamType):
    """Files of a data set, as text, or the `Dataset` that MODULE:NAME names: an object, a class or a function."""

    name = "data"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        named = isinstance(value, str) and re.fullmatch(r"(?!hf:)[A-Za-z_][\w.]*:[A-Za-z_]\w*", value)
        if not named or os.path.exists(value):
            return value
        found = import_object(value)
        if not isinstance(found, type) and hasattr(found, "images"):
            return found
        try:
            return found()
        except IdganError:
            raise
        except Exception as error:  # the user's code may raise anything
            raise InvalidInputError(f"--data {value} failed: {type(error).__name__}: {error}") from error


class OutputFile(click.Path):
    """A file to write, with one of `suffixes` if there are any. It is checked before the command does any work."""

    def __init__(self, *suffixes: str) -> None:
        super().__init__(dir_okay=False)
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return str(check_output(value, self.suffixes))
        except InvalidInputError as error:
            self.fail(str(error), param, ctx)


class OutputDirectory(click.Path):
    """A directory to write to. It need not exist. It is checked before the command does any work."""

    def __init__(self) -> None:
        super().__init__(file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return str(check_output(value, directory=True))
        except InvalidInputError as error:
            self.fail(str(error), param, ctx)


class OutputPlace(click.Path):
    """A file with one of `suffixes`, or a directory. It is checked before the command does any work.

    A directory exists, or has a name without suffix, or ends in a slash.
    """

    def __init__(self, *suffixes: str) -> None:
        super().__init__()
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        path = os.path.expanduser(value)
        directory = self.is_directory(path)
        if not directory and Path(path).suffix.lower() not in self.suffixes:
            suffixes = " or ".join(self.suffixes)
            self.fail(f"the path must end in {suffixes}, or be a directory, got {path!r}", param, ctx)
        try:
            check_output(path, () if directory else self.suffixes, directory=directory)
        except InvalidInputError as error:
            self.fail(str(error), param, ctx)
        return path

    @staticmethod
    def is_directory(path: str) -> bool:
        """Whether `path` names a directory, which need not exist."""
        return os.path.isdir(path) or path.endswith(("/", os.sep)) or not Path(path).suffix


def check_output(path: str | os.PathLike[str], suffixes: Sequence[str] = (), *, directory: bool = False) -> Path:
    """Check that a file (or a directory) can be written at `path`. Returns it with `~` expanded.

    Missing parent directories are fine, because writing creates them.

    Raises:
        InvalidInputError: the suffix is wrong, `path` is of the other kind, or its place cannot be written.
    """
    place = Path(os.path.expanduser(path))
    if suffixes and place.suffix.lower() not in suffixes:
        raise InvalidInputError(f"the path must end in {' or '.join(suffixes)}, got {str(place)!r}")
    try:
        if place.exists() and place.is_dir() != directory:
            raise InvalidInputError(f"{place} is {'not ' if directory else ''}a directory")
        if not directory and place.exists() and not place.is_file():
            raise InvalidInputError(f"{place} is not a regular file")
        if place.exists() and not os.access(place, os.W_OK):
            raise InvalidInputError(f"{place} is read-only")
        parent = place if directory else place.parent
        while not parent.exists() and parent != parent.parent:
            parent = parent.parent
        with tempfile.TemporaryFile(dir=parent):
            return place
    except OSError as error:
        raise InvalidInputError(f"cannot write to {place}: {error.strerror}") from error


def default_out(model: str, what: str) -> Path:
    """Where a command writes by default: in the current directory, named after MODEL, such as dsprites-samples.png.

    Raises:
        InvalidInputError: the file cannot be written.
    """
    return check_output(f"{title_of(model)}-{what}")


def title_of(model: str) -> str:
    """MODEL without directories, organization, revision and suffix."""
    return Path(model.partition("@")[0].removesuffix(".safetensors")).resolve().name


def _expand(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    return None if value is None else os.path.expanduser(value)


# ------------------------------------------------------------------ options

model_argument = click.argument("model", metavar="MODEL", callback=_expand)
data_option = click.option(
    "--data",
    type=DatasetArgument(),
    help="Files of the data set: a directory, a file, or hf:org/name. Or MODULE:NAME of your own data set.",
)
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 ...")


def threads_option(command: Command) -> Command:
    """`--threads`: the number of CPU threads that PyTorch uses."""
    return _with_threads(command, "one per core", lambda: None)


def idle_threads_option(command: Command) -> Command:
    """`--threads` of commands with thousands of short steps. Their threads wait for each other after every layer.

    So a thread without a core of its own holds up all others. With two cores and 12 busy programs, inversion took 17
    seconds with one thread and 42 seconds with two (benchmarks/inversion.py --compare-threads).
    """
    return _with_threads(command, "one per idle core", idle_cores)


def idle_cores() -> int | None:
    """Number of cores that other programs do not use, at least 1. None if OMP_NUM_THREADS is set, or it is unknown."""
    load = _load()
    if os.environ.get("OMP_NUM_THREADS") or load is None:
        return None
    return max(1, round((os.cpu_count() or 1) - load))


def _load() -> float | None:
    """Mean number of cores in use in the last minute. None if it is unknown, as on Windows."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def busy_note(device: str) -> str:
    """What to say of a time that is measured on `device` next, if other programs use the CPU now. Else ""."""
    cores = os.cpu_count() or 1
    busy = min(cores, round(_load() or 0)) if device == "cpu" else 0
    return f"Other programs used {busy} of {cores} cores. Without them, it takes less time." if busy else ""


def _with_threads(command: Command, default: str, count: Callable[[], int | None]) -> Command:
    """`command` with `--threads`. `count` gives the default, which `default` describes. None changes nothing."""

    @click.option("--threads", type=click.IntRange(1, MAX_THREADS), help=f"CPU threads.  [default: {default}]")
    @wraps(command)
    def with_threads(threads: int | None, **options: Any) -> Any:
        chosen = threads or count()
        if chosen is not None:
            import torch

            torch.set_num_threads(threads or min(chosen, torch.get_num_threads()))
        return command(**options)

    return with_threads


def crop_options(command: Command) -> Command:
    """`--crop` and `--crop-side`, as one parameter `crop` of `as_batch`."""

    @click.option("--crop", is_flag=True, help="Crop images that are not square to their center square.")
    @click.option(
        "--crop-side", type=click.IntRange(min=1), metavar="PX", help="Crop images to a center square of side PX."
    )
    @wraps(command)
    def with_crop(crop: bool, crop_side: int | None, **options: Any) -> Any:
        return command(crop=crop_side or crop, **options)

    return with_crop


def align_options(command: Command) -> Command:
    """`--align` and `--face`, as one parameter `align` of `Sampler.posterior`."""
    face = click.option(
        "--face", type=click.IntRange(min=1), metavar="N", help="With --align, the face to take, counted from the left."
    )
    return _with_align(command, face)


def align_both_options(command: Command) -> Command:
    """As `align_options`, for a command of two photos. A chosen face is a pair of numbers, one for each photo."""
    face = click.option(
        "--face",
        metavar="N[,M]",
        callback=_parse_faces,
        help="With --align, the face to take, counted from the left: N in A and M in B, or N in both.",
    )
    return _with_align(command, face)


def _parse_faces(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """Read "2" as (2, 2) and "1,2" as (1, 2). A click callback."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*([1-9]\d{0,5})\s*(?:,\s*([1-9]\d{0,5})\s*)?", text, re.ASCII)
    if not match:
        raise click.BadParameter(f"{text!r} is not N or N,M with numbers from 1 on, such as 1,2", context, parameter)
    return int(match[1]), int(match[2] or match[1])


def _with_align(command: Command, face_option: Callable[[Command], Command]) -> Command:
    """`command` with `--align` and `face_option`, as one parameter `align`: what was chosen, or the flag."""

    @click.option(
        "--align",
        is_flag=True,
        help="Find the faces in photos, and crop them like the training images.",
    )
    @face_option
    @wraps(command)
    def with_align(align: bool, face: Any, **options: Any) -> Any:
        if face is not None and not align:
            raise click.UsageError("--face needs --align")
        if align and options.get("crop"):
            raise click.UsageError("--align finds the square, so it excludes --crop and --crop-side")
        return command(align=face or align, **options)

    return with_align


# ------------------------------------------------------------------ models


def load_model(model: str, device: str) -> "Sampler":
    """The `Sampler` called `model`."""
    import idgan

    return idgan.load(model, device=device)


def if_decoder(sampler: "Sampler", text: str) -> str:
    """`text` about the decoder's panel, or "" without a trained decoder."""
    return "" if "decoder" in sampler.untrained else text


# ------------------------------------------------------------------ values


def parse_numbers(context: click.Context, parameter: click.Parameter, text: str | None) -> list[int] | None:
    """Read seeds or dimensions such as "0-15,42" as [0, ..., 15, 42]. A click callback."""
    if text is None:
        return None
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,20})(?:-(\d{1,20}))?\s*", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise click.BadParameter(f"{part!r} is not a number or a range, such as 0-15,42", context, parameter)
        if len(numbers) + last - first >= MAX_NUMBERS:
            raise click.BadParameter(f"{text!r} is more than {MAX_NUMBERS:,} numbers", context, parameter)
        numbers += range(first, last + 1)
    return numbers


def parse_dims(context: click.Context, parameter: click.Parameter, text: str | None) -> list[int | str] | None:
    """Read code dimensions such as "0-2,scale" as [0, 1, 2, "scale"]. A click callback."""
    if text is None:
        return None
    dims: list[int | str] = []
    for part in text.split(","):
        if re.fullmatch(r"\s*[A-Za-z]\w*\s*", part):
            dims.append(part.strip())
        else:
            dims += parse_numbers(context, parameter, part) or []
    return dims


def parse_changes(context: click.Context, parameter: click.Parameter, texts: Iterable[str]) -> dict[int | str, float]:
    """Read changes of a code such as "scale=+1.5" as {"scale": 1.5}. A click callback."""
    changes: dict[int | str, float] = {}
    for text in texts:
        match = re.fullmatch(r"\s*(\w{1,40})\s*=\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*", text, re.ASCII)
        if not match:
            raise click.BadParameter(f"{text!r} is not DIMENSION=AMOUNT, such as 3=+1.5", context, parameter)
        dim = int(match[1]) if match[1].isdecimal() else match[1]
        if dim in changes:
            raise click.BadParameter(f"dimension {dim} is given twice", context, parameter)
        changes[dim] = float(match[2])
    return changes


# ------------------------------------------------------------------ output


def results_table(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Lines of a table of metrics, a heading first. `results` are dicts as `MetricResult.to_dict` makes them."""
    from idgan.record import value_text

    rows = [("metric", "value", "samples", "seed", "protocol")]
    for result in results:
        value = value_text(result["value"], result.get("confidence"))
        rows.append((result["name"], value, f"{result['samples']:,}", str(result["seed"]), result["protocol"]))
    widths = [max(map(len, column)) for column in zip(*rows)][:-1]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1]]) for row in rows]


def say_json(value: object) -> None:
    """Print `value` as JSON."""
    import json

    click.echo(json.dumps(value, indent=2))


def duration(seconds: float) -> str:
    """A duration in a suitable unit, such as "1.5 hours"."""
    for size, unit in ((365.25 * 86400, "years"), (86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} seconds"
