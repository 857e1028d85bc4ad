"""Training: one loop for both stages and every objective, runs that resume, and the checkpoint of a finished run."""

from idgan.training.callbacks import Callback
from idgan.training.entry import train

__all__ = ["Callback", "train"]
