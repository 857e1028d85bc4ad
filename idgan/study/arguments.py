"""The command line that the scripts of tables and figures share."""

import argparse
from collections.abc import Sequence

import torch

from idgan.study.scales import SCALES
from idgan.study.study import Study

__all__ = ["parse_arguments"]


def parse_arguments(description: str | None, names: Sequence[str]) -> tuple[Study, list[str]]:
    """(`Study`, names of data sets) from the command line of a script.

    Args:
        description: shown by --help.
        names: data sets if --names is not given.
    """
    parser = argparse.ArgumentParser(description=description)
    default = "full" if torch.cuda.is_available() else "short"
    parser.add_argument(
        "--scale",
        choices=SCALES,
        default=default,
        help=f"the paper's budget, minutes to hours on a CPU, or seconds [{default}]",
    )
    parser.add_argument("--seeds", type=_integers, default="0", help="one run for each, such as 0,1,2 [0]")
    parser.add_argument("--names", default=",".join(names), help=f"names of recipes [{','.join(names)}]")
    parser.add_argument("--data", help="files of the data set, if it needs any")
    parser.add_argument("--extractor", help="features of the Fréchet distance, see idgan evaluate --help")
    parser.add_argument(
        "--out", default="runs/study", help="directory of the runs; existing runs are used [runs/study]"
    )
    parser.add_argument(
        "--table-only", action="store_true", help="use existing results; train nothing and measure nothing"
    )
    parsed = parser.parse_args()
    study = Study(parsed.scale, parsed.out, parsed.seeds, parsed.data, parsed.extractor, train=not parsed.table_only)
    return study, parsed.names.split(",")


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]
