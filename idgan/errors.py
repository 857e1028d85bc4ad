"""The errors of the package, all subclasses of `IdganError`, and the checks of ranges.

Each message names the value, what is accepted, and what to do next.
"""

from math import inf
from numbers import Integral, Real


class IdganError(Exception):
    """Base class of every error this package raises on purpose."""


class InvalidInputError(IdganError, ValueError):
    """An argument (image, code, seed, size, option) that cannot be understood or is out of range."""


class MissingDependencyError(IdganError, ImportError):
    """An optional library is needed; the message names the extra that installs it."""


class DataError(IdganError):
    """A data set is missing, incomplete or not what it claims to be."""


# ------------------------------------------------------------------ zoo


class UnknownModelError(IdganError, LookupError):
    """No checkpoint or recipe of that name; the message lists the known names and the nearest match."""


class NotTrainedError(IdganError, LookupError):
    """The name is known but nobody has published weights for it yet (manifest status "recipe")."""


class ManifestError(IdganError, ValueError):
    """The weights manifest breaks its schema; the message names the entry and the field."""


class CheckpointError(IdganError, ValueError):
    """A checkpoint file is malformed: not safetensors, wrong keys, shapes, dtypes, or values that are not finite."""


class CorruptWeightsError(CheckpointError):
    """A file's sha256 or size differs from what the manifest (or the hub) promises."""


class HubError(IdganError):
    """The hub could not serve a file. Its subclasses say why."""


class HubUnreachableError(HubError, ConnectionError):
    """No connection to the hub (no network, refused, timed out), and the file is not cached."""


class HubOfflineError(HubError):
    """Offline mode or `local_files_only` is on and the file is not cached."""


class RepoNotFoundError(HubError, LookupError):
    """The repository does not exist, was renamed, or is private and the token does not open it."""


class GatedRepoError(HubError, PermissionError):
    """The repository asks its users to accept its terms first."""


class RevisionNotFoundError(HubError, LookupError):
    """The repository exists, the branch, tag or commit does not."""


class FileMissingError(HubError, LookupError):
    """The repository exists but holds no such file: it is not an idgan checkpoint, or was moved."""


class HubAuthError(HubError, PermissionError):
    """The hub refused the token (401 or 403)."""


class HubRateLimitError(HubError):
    """The hub asks to slow down (429)."""


class HubServerError(HubError):
    """The hub failed on its side (5xx)."""


class DownloadInterruptedError(HubError, ConnectionError):
    """The connection broke during a download, more often than is retried."""


# ------------------------------------------------------------------ training


class RunError(IdganError):
    """A run directory cannot be used as asked."""


class RunMismatchError(RunError):
    """The run directory was made by another configuration; the message lists the differing fields."""


class DivergedError(RunError, ArithmeticError):
    """A loss became NaN, infinite or absurdly large; the last good checkpoint is intact."""


# ------------------------------------------------------------------ checks


def check_range(minimum: float, below: float = inf, /, *, exclusive: bool = False, **numbers: float) -> None:
    """Check that each of `numbers`, given by name, is a real number in [minimum, below).

    With `exclusive`, `minimum` itself is refused.

    Raises:
        InvalidInputError: names the first number that is not, and what is accepted.
    """
    for name, value in numbers.items():
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not minimum <= value < below or (exclusive and value == minimum):
            accepted = f"more than {minimum}" if exclusive else f"{minimum} or more"
            end = f" and less than {below}" if below < inf or value == inf else ""
            raise InvalidInputError(f"{name} must be {accepted}{end}, got {value!r:.100}")


def check_integer(minimum: int, maximum: int | None = None, /, **numbers: object) -> None:
    """Check that each of `numbers`, given by name, is an integer in [minimum, maximum].

    NumPy integers are integers. Booleans are not.

    Raises:
        InvalidInputError: names the first number that is not, and what is accepted.
    """
    for name, value in numbers.items():
        number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
        if number is None or number < minimum or (maximum is not None and number > maximum):
            accepted = f"of {minimum} or more" if maximum is None else f"from {minimum} to {maximum}"
            raise InvalidInputError(f"{name} must be an integer {accepted}, got {value!r:.100}")


# ------------------------------------------------------------------ messages


def missing_extra(what: str, extra: str) -> str:
    """Message of a `MissingDependencyError`: `what` needs which library, and which extra installs it."""
    return f"{what}. The extra {extra!r} of idgan installs it (in a checkout of idgan: pip install '.[{extra}]')"
