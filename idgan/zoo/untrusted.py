"""What a file of unknown origin contains: JSON, read strictly, and values from it, made safe to print."""

import difflib
import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from idgan.errors import ManifestError

__all__ = ["MAX_BYTES", "MAX_INTEGER", "brief_ascii", "parse_json", "prefixing_errors", "printable", "suggestion"]

MAX_BYTES = 4 << 20
"""Bytes in the largest manifest or `config.json` that is read."""
MAX_INTEGER = 2**63 - 1
"""Largest absolute value of a number."""


# ------------------------------------------------------------------ JSON, strictly


def parse_json(content: bytes) -> Any:
    """The JSON value in `content`.

    Raises:
        ManifestError: it is not JSON, has a key twice in one object, or a number that is too large or not finite.
    """
    with prefixing_errors("not valid JSON"):
        return json.loads(
            content,
            object_pairs_hook=_without_duplicates,
            parse_int=_checked_integer,
            parse_float=_finite_number,
            parse_constant=_finite_number,
        )


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ManifestError(f"the key {brief_ascii(twice)} appears twice in one object")
    return dict(pairs)


def _checked_integer(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > MAX_INTEGER:
        raise ManifestError(f"the number {brief_ascii(text)} is too large")
    return int(text)


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ManifestError(f"the number {brief_ascii(text)} is not finite")
    return number


@contextmanager
def prefixing_errors(where: object) -> Iterator[None]:
    """Turn errors into a ManifestError with a message that begins with `where`."""
    try:
        yield
    except (OSError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise ManifestError(f"{printable(where)}: {error}") from error


# ------------------------------------------------------------------ text in messages


def printable(value: object) -> str:
    """`value` as text that is safe to print: control characters, line breaks and lone surrogates are escaped."""
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def suggestion(name: object, known: list[str]) -> str:
    """ " (did you mean ...?)" for the name in `known` that is closest to `name`, or ""."""
    near = difflib.get_close_matches(name[:100].lower(), known, 1) if isinstance(name, str) else []
    return f" (did you mean {near[0]!r}?)" if near else ""


def brief_ascii(value: object) -> str:
    """`value` in ASCII, cut to 60 characters."""
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # thousands of digits, or of nested lists
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
