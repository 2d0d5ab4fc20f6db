"""How the C library of Linux keeps the memory that tensors give back."""

from __future__ import annotations

import ctypes
import os
import sys

#: Parameters of glibc's ``mallopt`` (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8

#: The largest that fits: memory is never given back before the end.
NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Have large tensors take memory that others have left, where the C library is glibc.

    Left alone, glibc maps every large block anew and unmaps it when it is freed; the kernel then
    clears each page again and again, a quarter of the time of a network of large tensors. All
    threads share one heap: what one of them has left in a heap of its own no other can take. The
    process grows no larger than at its peak, and keeps that until it ends, so this is for programs,
    not for libraries. Variables ``MALLOC_...`` of the user are left in force.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        library = ctypes.CDLL("libc.so.6")
        library.gnu_get_libc_version  # noqa: B018 - absent from other C libraries
    except (OSError, AttributeError):
        return
    library.mallopt(M_ARENA_MAX, 1)
    library.mallopt(M_MMAP_MAX, 0)
    library.mallopt(M_TRIM_THRESHOLD, NEVER)
