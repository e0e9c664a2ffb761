"""Linux on x86-64: from now on this process may compute, use memory, and read and write what it has open.

A filter of system calls (`man 2 seccomp`) that no rights of the user loosen, those of root neither. Whatever
is not on the list fails as not permitted: opening files, sockets, other processes, signals, limits.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys

_ALLOWED = (
    0,  # read
    1,  # write
    3,  # close
    5,  # fstat
    7,  # poll
    8,  # lseek
    9,  # mmap
    10,  # mprotect
    11,  # munmap
    12,  # brk
    13,  # rt_sigaction
    14,  # rt_sigprocmask
    15,  # rt_sigreturn
    17,  # pread64
    19,  # readv
    20,  # writev
    24,  # sched_yield
    25,  # mremap
    28,  # madvise
    39,  # getpid
    60,  # exit
    96,  # gettimeofday
    98,  # getrusage
    99,  # sysinfo
    131,  # sigaltstack
    186,  # gettid
    202,  # futex
    204,  # sched_getaffinity
    228,  # clock_gettime
    230,  # clock_nanosleep
    231,  # exit_group
    318,  # getrandom
)
_AUDIT_ARCH_X86_64 = 0xC000003E
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _ARCH_AT = 0, 4
_RET_ALLOW, _RET_ERRNO = 0x7FFF0000, 0x00050000
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def allow_only_computing() -> bool:
    """Install the filter for this thread and whatever comes of it, for good.

    PR_SET_NO_NEW_PRIVS must be set. Returns whether the system took it.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    instructions = b"".join(struct.pack("HBBI", *instruction) for instruction in _filter())
    program = _Program(len(instructions) // 8, instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _filter() -> list[tuple[int, int, int, int]]:
    """Code, steps to jump if equal, steps otherwise, and value of each instruction."""
    count = len(_ALLOWED)
    # The last two instructions refuse and allow; from call i it is count - i steps to the second of them.
    calls = [(_JUMP_IF_EQUAL, count - i, 0, number) for i, number in enumerate(_ALLOWED)]
    return [
        (_LOAD, 0, 0, _ARCH_AT),
        (_JUMP_IF_EQUAL, 0, count + 1, _AUDIT_ARCH_X86_64),
        (_LOAD, 0, 0, _NUMBER_AT),
        *calls,
        (_RETURN, 0, 0, _RET_ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _RET_ALLOW),
    ]
