"""How this process keeps freed memory."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["kept_memory"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""Names of settings of glibc's `mallopt`, see malloc.h."""
MMAP_THRESHOLD, MMAP_MAX = 32 * 2**20, 65_536
"""The largest threshold that glibc chooses by itself, in bytes, and its default number of mapped blocks."""

_lock = threading.Lock()
_users = 0


@contextmanager
def kept_memory() -> Iterator[None]:
    """Within it, glibc keeps freed memory of any size for later allocations. Afterwards, free memory goes back.

    By default, large tensors on a CPU return to the operating system when they are freed. The next tensor then costs a
    page fault for each of its pages. That was a fifth of a training step, and up to half of drawing 64x64 images.
    With another C library it does nothing.
    """
    global _users
    try:
        libc = ctypes.CDLL(None)
        set_option, trim = libc.mallopt, libc.malloc_trim
    except (AttributeError, OSError, TypeError):  # not glibc
        yield
        return
    with _lock:
        _users += 1
        set_option(M_MMAP_MAX, 0)
        set_option(M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                set_option(M_MMAP_MAX, MMAP_MAX)
                set_option(M_MMAP_THRESHOLD, MMAP_THRESHOLD)
                set_option(M_TRIM_THRESHOLD, 2 * MMAP_THRESHOLD)
                trim(0)
