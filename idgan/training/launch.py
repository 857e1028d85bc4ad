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
"""Seconds that processes have to end after one of them has ended with an error."""


def run_processes(command: Sequence[str], processes: int) -> int:
    """Run `command` in as many processes, in the environment that torchrun gives to each.

    SIGINT and SIGTERM are passed on. The processes then have all the time that they need to save their state. If a
    process fails without a signal, the others are ended. torchrun does this too, but prints a traceback of its own
    after a SIGINT.

    Returns:
        The first exit status that is not 0, or 0.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))} | os.environ
    environment |= {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children: list[subprocess.Popen[bytes]] = []
    signals: list[int] = []

    def pass_on(number: int, frame: FrameType | None = None) -> None:
        signals.append(number)
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for rank in range(processes):
            ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            children.append(subprocess.Popen(command, env=environment | ranks))
        return _wait(children, signals)
    finally:
        for child in children:
            child.kill()
            child.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(children: Sequence["subprocess.Popen[bytes]"], signals: Sequence[int]) -> int:
    """Wait for all children. `signals` are those that were passed on to them so far.

    After a failure, the others are asked to end, and are given up after `PATIENCE`. After a signal, all end by
    themselves. One that takes longer than `PATIENCE` is asked once more, and is never given up: it may be saving.
    """
    failed, asking, deadline = 0, float("inf"), float("inf")
    while None in (codes := [child.poll() for child in children]) and (now := time.monotonic()) < deadline:
        if any(codes) and not failed:
            failed = next(filter(None, codes))
            asking, deadline = (now + PATIENCE, float("inf")) if signals else (now, now + PATIENCE)
        if now >= asking:
            asking = float("inf")
            for child in children:
                child.terminate()
        time.sleep(0.1)
    return failed or next(filter(None, codes), 0)
