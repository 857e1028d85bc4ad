"""Studies: many runs at one scale, trained and measured once, and the paper's tables and figures of their results."""

from idgan.study.costs import plan_of, training_seconds
from idgan.study.figures import FIGURES
from idgan.study.scales import FULL, GILBO, SAMPLES, SCALES, SHORT, STAGE_1_OF, SYNTHETIC, TINY, TWO_STAGE
from idgan.study.study import Study, check_run, is_measurement_of
from idgan.study.table import metric_title, paired_values
from idgan.study.tables import TABLES

__all__ = [
    "FIGURES",
    "FULL",
    "GILBO",
    "SAMPLES",
    "SCALES",
    "SHORT",
    "STAGE_1_OF",
    "SYNTHETIC",
    "TABLES",
    "TINY",
    "TWO_STAGE",
    "Study",
    "check_run",
    "is_measurement_of",
    "metric_title",
    "paired_values",
    "plan_of",
    "training_seconds",
]
