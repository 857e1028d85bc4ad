"""How a checkpoint was trained: the record that its file and the manifest carry. Also measured values as text."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from idgan.errors import InvalidInputError

__all__ = ["OLD_SETTINGS", "TrainingRecord", "current_setting", "value_text"]

OLD_FIELDS = {"system": "method"}
OLD_SETTINGS = {
    "accumulate": "accumulation_steps",
    "dequantise": "dequantize",
    "generator_from": "init_generator_from",
    "generator_from_sha256": "init_generator_from_sha256",
    "r1_every": "r1_interval",
    "vae_from": "init_vae_from",
    "vae_from_sha256": "init_vae_from_sha256",
}
"""Names of settings in files of older versions -> their names now."""


def current_setting(path: str) -> str:
    """The dotted `path` of a setting with every old name in it replaced by the current one."""
    return ".".join(OLD_SETTINGS.get(part, part) for part in path.split("."))


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """What made a checkpoint.

    Every field has a default, because files of older versions and converted files have fewer.

    Attributes:
        recipe: name of the recipe.
        method: name of the method. None if the networks follow no recipe of the package.
        untrained: parts of the VAE ("encoder", "decoder") that the method does not train.
        command: the command line that repeats the training, or a sentence that says why no command can.
        settings: dotted path in the recipe -> plain value.
        identity: what else the result depends on, such as the hash of frozen weights: name -> plain value. None if
            nothing.
        seed: seed of the run.
        images: number of training images.
        data: path of the user's own images, without private directories. None for the recipe's data set.
        steps: stage -> number of steps.
        stages: stage -> what it did: steps, seconds, and for selected weights their step and score.
        wall_time_seconds: time of all stages.
        versions: package -> version.
        hardware: a line of text.
        eyes: for aligned faces, the centers (x, y) of the eye on the left and of the eye on the right of each training
            image, in fractions of its side. None if the images are not known to be aligned faces.
        converted_from: files of another implementation that were converted, or None.
    """

    recipe: str | None = None
    method: str | None = "id-gan"
    untrained: tuple[str, ...] = ()
    command: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] | None = None
    seed: int | None = None
    images: int | None = None
    data: str | None = None
    steps: dict[str, int] = field(default_factory=dict)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    wall_time_seconds: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    hardware: str | None = None
    eyes: tuple[tuple[float, float], tuple[float, float]] | None = None
    converted_from: Any = None

    @classmethod
    def from_dict(cls, values: object) -> "TrainingRecord":
        """From the JSON object in a file. Unknown fields are left out. Names of older versions are read.

        Raises:
            InvalidInputError: `values` is no object, or a field is of another type.
        """
        if values is None:
            return cls()
        if not isinstance(values, Mapping):
            raise InvalidInputError(f"training must be an object, got {values!r:.100}")
        known = {item.name for item in fields(cls)}
        current = {OLD_FIELDS.get(str(name), str(name)): value for name, value in values.items()}
        record = {name: value for name, value in current.items() if name in known}
        for name, value in record.items():
            if not _accepts(name, value):
                raise InvalidInputError(f"training.{name} must be {ACCEPTED[name][0]}, got {value!r:.100}")
        if "untrained" in record:
            record["untrained"] = tuple(record["untrained"])
        if record.get("eyes") is not None:
            record["eyes"] = tuple(map(tuple, record["eyes"]))
        if "settings" in record:
            record["settings"] = {current_setting(path): value for path, value in record["settings"].items()}
        return cls(**record)

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object, without fields that are None. Tuples become lists."""
        eyes = None if self.eyes is None else [list(point) for point in self.eyes]
        values = asdict(self) | {"untrained": list(self.untrained), "eyes": eyes}
        return {name: value for name, value in values.items() if value is not None or name == "method"}


def _text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _integer(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _table_of(kind: type | tuple[type, ...]) -> Any:
    def accepts(value: object) -> bool:
        return isinstance(value, dict) and all(isinstance(k, str) and isinstance(v, kind) for k, v in value.items())

    return accepts


def _parts(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(part in ("encoder", "decoder") for part in value)


def _eyes(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, (list, tuple)) or not all(isinstance(point, (list, tuple)) for point in value):
        return False
    if [len(point) for point in value] != [2, 2]:
        return False
    numbers = [number for point in value for number in point]
    fractions = all(number is not None and _number(number) and 0 <= number <= 1 for number in numbers)
    # Eyes that are close together, or nearly above each other, would make a cut far larger than the photo.
    return fractions and numbers[2] - numbers[0] >= 0.05 and abs(numbers[3] - numbers[1]) <= 0.5


ACCEPTED = {
    "recipe": ("text", _text),
    "method": ("text", _text),
    "untrained": ('a list of "encoder" and "decoder"', _parts),
    "command": ("text", _text),
    "settings": ("an object", _table_of(object)),
    "identity": ("an object", lambda value: value is None or isinstance(value, dict)),
    "seed": ("an integer", _integer),
    "images": ("an integer", _integer),
    "data": ("text", _text),
    "steps": ("an object of integers", _table_of(int)),
    "stages": ("an object of objects", _table_of(dict)),
    "wall_time_seconds": ("a number", _number),
    "versions": ("an object of text", _table_of(str)),
    "hardware": ("text", _text),
    "eyes": (
        "two points with coordinates from 0 to 1, the second at least 0.05 to the right of the first and at most "
        "0.5 above or below it",
        _eyes,
    ),
    "converted_from": ("a JSON value", lambda value: True),
}
"""Field -> what it takes, in words, and the check."""


def _accepts(name: str, value: object) -> bool:
    return bool(ACCEPTED[name][1](value))


def value_text(value: float, confidence: float | None = None) -> str:
    """A measured value as text, followed by ± its confidence if that is known."""
    return f"{value:.4f}" + ("" if confidence is None else f" ± {confidence:.4f}")
