"""The directory of prepared data."""

import os
from pathlib import Path

from idgan.files import user_path

__all__ = ["data_directory"]


def data_directory() -> Path:
    """The directory of prepared data. It need not exist.

    It is $IDGAN_DATA, else `idgan/data` in $XDG_CACHE_HOME or ~/.cache.
    """
    if chosen := os.environ.get("IDGAN_DATA"):
        return user_path(chosen)
    return user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "idgan" / "data"
