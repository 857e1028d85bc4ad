"""Where prepared data lives."""

import os
from pathlib import Path

__all__ = ["data_directory"]


def data_directory():
    """The `Path` for prepared data: $IDGAN_DATA, else `idgan/data` in $XDG_CACHE_HOME or ~/.cache. It need not exist."""
    if chosen := os.environ.get("IDGAN_DATA"):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "idgan" / "data"
