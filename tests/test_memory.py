import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from idgan.memory import kept_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        torch.ones(2**24)  # 64 MiB
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 50

def resident():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmRSS")]
    return int(line.split()[1]) // 1024

with kept_memory():
    with kept_memory():
        pass
    faults()  # the first blocks
    print(faults(), resident())
print(resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep their settings")
def test_freed_memory_is_kept_and_returned_at_the_end():
    output = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout
    faults, inside, afterwards = map(int, output.split())
    assert faults < 1000  # a tensor has 16,384 pages of 4 KiB
    assert afterwards < inside - 50
