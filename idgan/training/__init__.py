"""Training: one loop for both stages and every objective, runs that resume, and the measuring and bundling of their results."""

from idgan.training.run import train

__all__ = ["train"]
