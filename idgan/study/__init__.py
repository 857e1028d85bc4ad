"""Studies: many runs at one scale, trained and measured once, and tables of their results."""

from idgan.study.arguments import parse_arguments
from idgan.study.scales import FULL, GILBO, SAMPLES, SHORT, SYNTHETIC, TINY, TWO_STAGE
from idgan.study.study import Study, check_run, is_measurement_of
from idgan.study.table import metric_title, paired_values

__all__ = [
    "FULL",
    "GILBO",
    "SAMPLES",
    "SHORT",
    "SYNTHETIC",
    "TINY",
    "TWO_STAGE",
    "Study",
    "check_run",
    "is_measurement_of",
    "metric_title",
    "paired_values",
    "parse_arguments",
]
