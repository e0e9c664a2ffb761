"""Memory of processes that run for long."""

from __future__ import annotations

import ctypes
import sys

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_LARGE_BYTES = 1_000_000


def return_large_blocks() -> None:
    """Let pictures and tensors go back to the system when they are freed, so that memory stays flat.

    glibc maps large blocks on their own, but raises what it calls large with each one that is freed, up
    to 32 MB; the next ones come from the heap, where small things that outlive them (crops, tracks) keep
    the holes apart. Live runs grew by 0.3 GB a minute and more; with a fixed limit they do not. Where there
    is no glibc, nothing is done.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
