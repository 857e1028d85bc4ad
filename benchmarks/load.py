"""Time of `import idgan` and `idgan.load` in fresh processes, next to the time to import torch and torchvision.

python benchmarks/load.py [--model dsprites] [--repeats 5]
"""

import argparse
import statistics
import subprocess
import sys

TIMED = """
import time
{before}
start = time.perf_counter()
{timed}
print(time.perf_counter() - start)
"""


def seconds(timed: str, before: str = "", repeats: int = 5) -> float:
    """Median time of the statements `timed` after `before`, each time in a new process."""
    command = [sys.executable, "-c", TIMED.format(timed=timed, before=before)]
    return statistics.median(
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(repeats)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dsprites")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()

    libraries = "import torch, torchvision"
    load = f"idgan.load({arguments.model!r}, device='cpu')"
    base = seconds(libraries, repeats=arguments.repeats)
    print(f"import torch, torchvision          {base:8.3f} s    1.000")
    for what, timed, before in (
        ("import idgan, beyond that", "import idgan", libraries),
        (f"import idgan and load {arguments.model}", f"import idgan; {load}", libraries),
        (f"load {arguments.model} a second time", load, f"{libraries}; import idgan; {load}"),
    ):
        taken = seconds(timed, before, arguments.repeats)
        print(f"{what:<34} {taken:8.3f} s  {taken / base:7.3f}")


if __name__ == "__main__":
    main()
