"""Several training processes on this machine, which end together and quietly."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from types import FrameType

__all__ = ["run_processes"]

PATIENCE = 30.0
"""Seconds that processes have to end after one of them has failed."""


def run_processes(command: Sequence[str], processes: int) -> int:
    """Run `command` in as many processes, in the environment that torchrun gives to each.

    SIGINT and SIGTERM are passed on. If a process fails, the others are ended. torchrun does this too, but prints a
    traceback of its own after a SIGINT.

    Returns:
        The first exit status that is not 0, or 0.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))} | os.environ
    environment |= {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: FrameType | None = None) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for rank in range(processes):
            ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            children.append(subprocess.Popen(command, env=environment | ranks))
        return _wait(children)
    finally:
        for child in children:
            child.kill()
            child.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(children: Sequence["subprocess.Popen[bytes]"]) -> int:
    """Wait for all children. After a failure, the others are asked to end and have `PATIENCE` for it."""
    failed, deadline = 0, float("inf")
    while None in (codes := [child.poll() for child in children]) and time.monotonic() < deadline:
        if any(codes) and not failed:
            failed, deadline = next(filter(None, codes)), time.monotonic() + PATIENCE
            for child in children:
                child.terminate()
        time.sleep(0.1)
    return failed or next(filter(None, codes), 0)
