"""The data set `Bands` and a perfect sampler for all tests of evaluation."""

from bands import bands, perfect  # noqa: F401
