"""Training: one loop for both stages and every objective, runs that resume, and the checkpoint of a finished run."""

from idgan.training.train import train

__all__ = ["train"]
