"""The errors of this package. All derive from `IdganError`, so one `except` catches everything it raises on purpose.

Each message names the value, what is accepted, and what to do next.
"""

from math import inf
from numbers import Integral, Real


class IdganError(Exception):
    """Base class of every error this package raises on purpose."""


class InvalidInputError(IdganError, ValueError):
    """An argument (image, code, seed, size, option) has the wrong type or is out of range."""


class MissingDependencyError(IdganError, ImportError):
    """An optional library is not installed. The message names the extra that installs it."""


class DataError(IdganError):
    """A data set is missing, incomplete, damaged or another one than expected."""


# ------------------------------------------------------------------ zoo


class UnknownModelError(IdganError, LookupError):
    """No checkpoint or recipe has this name. The message lists the known names and the closest one."""


class NotTrainedError(IdganError, LookupError):
    """The name is known, but no weights are published yet (manifest status "recipe")."""


class WeightsNotHereError(IdganError, LookupError):
    """The weights are in the source tree of idgan, and this installation was made without them."""


class ManifestError(IdganError, ValueError):
    """The weights manifest breaks its schema. The message names the entry and the field."""


class CheckpointError(IdganError, ValueError):
    """A checkpoint file is malformed: not safetensors, wrong keys, shapes or dtypes, or values that are not finite."""


class CorruptWeightsError(CheckpointError):
    """The sha256 or size of a file differs from the manifest or the hub."""


class HubError(IdganError):
    """The hub could not serve a file. Each subclass is one reason."""


class HubUnreachableError(HubError, ConnectionError):
    """No connection to the hub (no network, refused, timed out), and the file is not cached."""


class HubOfflineError(HubError):
    """Offline mode or `local_files_only` is on, and the file is not cached."""


class RepoNotFoundError(HubError, LookupError):
    """The repository does not exist, was renamed, or is private and the token gives no access."""


class GatedRepoError(HubError, PermissionError):
    """The repository requires its users to accept its terms first."""


class RevisionNotFoundError(HubError, LookupError):
    """The repository exists, but the branch, tag or commit does not."""


class FileMissingError(HubError, LookupError):
    """The repository exists, but the file does not: it is not an idgan checkpoint, or the file was moved."""


class HubAuthError(HubError, PermissionError):
    """The hub refused the token (401 or 403)."""


class HubRateLimitError(HubError):
    """The hub received too many requests (429)."""


class HubServerError(HubError):
    """The hub failed with an error of its own (5xx)."""


class DownloadInterruptedError(HubError, ConnectionError):
    """The connection broke during a download, and all retries failed."""


# ------------------------------------------------------------------ training


class RunError(IdganError):
    """A run directory cannot be used as requested."""


class RunMismatchError(RunError):
    """The run directory was made with another configuration. The message lists the differing fields."""


class DivergedError(RunError, ArithmeticError):
    """A loss became NaN, infinite or far too large. The last good checkpoint is intact."""


# ------------------------------------------------------------------ checks


def check_range(minimum: float, below: float = inf, /, *, exclusive: bool = False, **numbers: float) -> None:
    """Check that each of `numbers`, given by name, is a real number in [minimum, below).

    With `exclusive`, the range is (minimum, below).

    Raises:
        InvalidInputError: names the first number outside the range, and what is accepted.
    """
    for name, value in numbers.items():
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not minimum <= value < below or (exclusive and value == minimum):
            accepted = f"more than {minimum}" if exclusive else f"{minimum} or more"
            end = f" and less than {below}" if below < inf or value == inf else ""
            raise InvalidInputError(f"{name} must be {accepted}{end}, got {brief(value)}")


def check_integer(minimum: int, maximum: int | None = None, /, **numbers: object) -> None:
    """Check that each of `numbers`, given by name, is an integer in [minimum, maximum].

    NumPy integers are accepted. Booleans are not.

    Raises:
        InvalidInputError: names the first number that is not accepted, and what is.
    """
    for name, value in numbers.items():
        number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
        if number is None or number < minimum or (maximum is not None and number > maximum):
            accepted = f"of {minimum} or more" if maximum is None else f"from {minimum} to {maximum}"
            raise InvalidInputError(f"{name} must be an integer {accepted}, got {brief(value)}")


# ------------------------------------------------------------------ messages


def brief(value: object) -> str:
    """`repr(value)`, cut to 100 characters. A value without a `repr`, such as a huge integer, is shown by its type."""
    try:
        return f"{value!r:.100}"
    except Exception:  # Python refuses integers of thousands of digits, and a user's class may raise anything
        return f"<{type(value).__name__} that cannot be shown>"


def missing_extra(what: str, extra: str) -> str:
    """Message of a `MissingDependencyError`: `what` needs which library, and how to install the extra that has it."""
    return f"{what}. The extra {extra!r} of idgan is not installed; from the checkout run: pip install -e '.[{extra}]'"
