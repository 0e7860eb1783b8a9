"""What a sandbox's child may not ask of the kernel: a seccomp filter, for x86-64 Linux.

A hijacked child could otherwise signal its parent, start programs, open connections or write files;
file modes don't help where everything runs as one user. Forbidden calls fail with EPERM, so that a
library that probes for one goes on without it. Numbers are those of the kernel's
arch/x86/entry/syscalls/syscall_64.tbl.
"""

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass
from functools import cache

_FORBIDDEN = {
    # network
    "socket": 41, "connect": 42, "accept": 43, "sendto": 44, "sendmsg": 46, "bind": 49,
    "listen": 50, "socketpair": 53, "accept4": 288, "sendmmsg": 307, "io_uring_setup": 425,
    # processes
    "fork": 57, "vfork": 58, "execve": 59, "execveat": 322,
    # other processes
    "kill": 62, "tkill": 200, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "ptrace": 101,
    "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_send_signal": 424,
    "pidfd_open": 434, "pidfd_getfd": 438, "kcmp": 312,
    # owners, modes and times of files, which Landlock leaves alone
    "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "utime": 132,
    "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198,
    "fremovexattr": 199, "utimes": 235, "fchownat": 260, "futimesat": 261, "fchmodat": 268,
    "utimensat": 280, "fchmodat2": 452,
    # the kernel itself
    "mknod": 133, "mknodat": 259, "pivot_root": 155, "chroot": 161, "mount": 165, "umount2": 166,
    "init_module": 175, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272,
    "perf_event_open": 298, "setns": 308, "finit_module": 313, "bpf": 321, "userfaultfd": 323,
}  # fmt: skip
_CLONE, _PRLIMIT = 56, 302
_NAMES_OF_FILES = {
    "creat": 85, "truncate": 76, "rename": 82, "mkdir": 83, "rmdir": 84, "link": 86, "unlink": 87,
    "symlink": 88, "mkdirat": 258, "unlinkat": 263, "renameat": 264, "linkat": 265,
    "symlinkat": 266, "renameat2": 316, "memfd_create": 319,
}  # fmt: skip
_ABSENT = {"clone3": 435, "openat2": 437}
"""Newer forms, whose callers fall back to `clone` and `openat` when told that there are none."""
_TGKILL, _OPEN, _OPENAT = 234, 2, 257
_CLONE_THREAD = 0x10000
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ARCH_X86_64 = 0xC000003E
_X32_BIT = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NR_OFFSET, _ARCH_OFFSET, _ARGS_OFFSET = 0, 4, 16


@cache
def libc() -> ctypes.CDLL:
    """Give the C library, opened once; a zygote does so for all its children."""
    return ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _refuse_if_argument(
    number: int, argument: int, test: int, value: int, *, refuse: bool
) -> bytes:
    """Five instructions on one call: load an argument, test it, refuse or allow."""
    denied = _instruction(_RETURN, _ERROR | errno.EPERM)
    allowed = _instruction(_RETURN, _ALLOW)
    return b"".join(
        (
            _instruction(_EQUAL, number, 0, 4),
            _instruction(_LOAD, _ARGS_OFFSET + 8 * argument),
            _instruction(test, value, 0, 1),
            denied if refuse else allowed,
            allowed if refuse else denied,
        )
    )


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a filter leaves to a process beside computing and reading.

    Attributes:
        threads: It may start threads, never processes, and ask for its own limits.
        files: It may make, write and remove files, as far as the kernel lets it by their names.
    """

    threads: bool = False
    files: bool = False


def build(own_pid: int, allowed: Allowance | None = None) -> bytes:
    """Make the filter of a process; signals to itself stay allowed, since `abort` sends one."""
    allowed = allowed or Allowance()
    forbidden = list(_FORBIDDEN.values())
    if not allowed.threads:
        forbidden += [_CLONE, _PRLIMIT]
    if not allowed.files:
        forbidden += _NAMES_OF_FILES.values()
    denied = _instruction(_RETURN, _ERROR | errno.EPERM)
    parts = [
        _instruction(_LOAD, _ARCH_OFFSET),
        _instruction(_EQUAL, _ARCH_X86_64, 1, 0),
        denied,
        _instruction(_LOAD, _NR_OFFSET),
        _instruction(_AT_LEAST, _X32_BIT, 0, 1),
        denied,
    ]
    for number in forbidden:
        parts += [_instruction(_EQUAL, number, 0, 1), denied]
    for number in _ABSENT.values():
        parts += [
            _instruction(_EQUAL, number, 0, 1),
            _instruction(_RETURN, _ERROR | errno.ENOSYS),
        ]
    parts.append(_refuse_if_argument(_TGKILL, 0, _EQUAL, own_pid, refuse=False))
    if allowed.threads:
        parts += [
            _refuse_if_argument(_CLONE, 0, _ANY_BIT, _CLONE_THREAD, refuse=False),
            _refuse_if_argument(_PRLIMIT, 0, _EQUAL, 0, refuse=False),
        ]
    if not allowed.files:
        parts += [
            _refuse_if_argument(_OPEN, 1, _ANY_BIT, _WRITING, refuse=True),
            _refuse_if_argument(_OPENAT, 2, _ANY_BIT, _WRITING, refuse=True),
        ]
    parts.append(_instruction(_RETURN, _ALLOW))
    return b"".join(parts)


def forbid(allowed: Allowance | None = None) -> None:
    """Put the filter on this process for good; does nothing on other machines than x86-64.

    Needs PR_SET_NO_NEW_PRIVS first, and a process with one thread.

    Raises:
        OSError: The kernel has no seccomp filters.
    """
    if platform.machine() != "x86_64":
        return
    code = build(os.getpid(), allowed)
    program = _Program(len(code) // 8, code)
    if libc().prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"the kernel refuses a seccomp filter: {os.strerror(number)}")
