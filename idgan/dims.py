"""Names of code dimensions."""

import re
from collections.abc import Mapping, Sequence
from numbers import Integral

from idgan.errors import InvalidInputError, brief

__all__ = ["NAME", "NAME_RULE", "as_dim", "as_names"]

NAME = r"(?![cC][0-9]+$)[A-Za-z][A-Za-z0-9_]{0,39}"
"""Pattern of the name of a code dimension. "c4" is dimension 4 in any model, so it is no name.

The letters are ASCII, because every program that draws or parses a name has these.
"""
NAME_RULE = "up to 40 ASCII letters, digits and _, beginning with a letter, but not c4 or the like"


def as_names(names: object, c_dim: int) -> dict[str, int]:
    """Check names of code dimensions: name -> dimension. None stands for no names.

    Raises:
        InvalidInputError: `names` is not a mapping, a name is malformed, a dimension does not exist or has two names.
    """
    if names is None:
        return {}
    if not isinstance(names, Mapping):
        raise InvalidInputError(f"dims must map names to code dimensions, such as {{'scale': 3}}, got {brief(names)}")
    for name, dim in names.items():
        if not isinstance(name, str) or not re.fullmatch(NAME, name):
            raise InvalidInputError(
                f"the name of a code dimension has {NAME_RULE}; an example is 'scale'; got {brief(name)}"
            )
        if isinstance(dim, bool) or not isinstance(dim, Integral) or not 0 <= int(dim) < c_dim:
            raise InvalidInputError(f"{name} must be a code dimension from 0 to {c_dim - 1}, got {brief(dim)}")
    checked = {name: int(dim) for name, dim in names.items()}
    if len(set(checked.values())) < len(checked):
        raise InvalidInputError(f"a code dimension has two names: {brief(checked)}")
    return checked


def as_dim(dim: object, c_dim: int, active_dims: Sequence[int], names: Mapping[str, int]) -> int:
    """The code dimension that `dim` means: an integer, "4", "c4", or one of `names`.

    Raises:
        InvalidInputError: there is no such dimension. The message lists the accepted ones.
    """
    if isinstance(dim, str):
        text = dim.strip()
        if text in names:
            return names[text]
        digits = re.fullmatch(r"c?(\d{1,6})", text, re.ASCII)
        dim = int(digits[1]) if digits else dim
    if isinstance(dim, bool) or not isinstance(dim, Integral) or not 0 <= int(dim) < c_dim:
        kind = f"a name ({', '.join(names)}) or an integer" if names else "an integer"
        raise InvalidInputError(
            f"code dimension must be {kind} from 0 to {c_dim - 1}, got {brief(dim)}; "
            f"the active ones are {list(active_dims)}"
        )
    return int(dim)
