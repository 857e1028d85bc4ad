"""Weights of feature networks, downloaded into PyTorch's cache."""

from pathlib import Path

import torch

from idgan.errors import HubUnreachableError

__all__ = ["download_weights", "sha256_prefix"]


def download_weights(url: str, hint: str = "") -> Path:
    """Path of the file at `url` in PyTorch's cache. It is downloaded if it is missing, and checked against its name.

    Args:
        url: an address that ends in the beginning of the file's sha256: name-0123abcd.pth.
        hint: what else the user can do, for the error.

    Raises:
        HubUnreachableError: the file cannot be downloaded or stored, or has another hash.
    """
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=sha256_prefix(url))
        except (OSError, RuntimeError) as error:
            raise HubUnreachableError(
                f"{url} could not be downloaded ({error}). Download it elsewhere and store it as {path}{hint}"
            ) from error
    return path


def sha256_prefix(url: str) -> str:
    """The beginning of the sha256 in a file's name: "0123abcd" of name-0123abcd.pth."""
    return url.rpartition("-")[2].partition(".")[0]
