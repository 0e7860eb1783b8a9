"""Landlock: takes a process' own rights to files, network and signals away; works without root.

Numbers are those of the kernel's include/uapi/linux/landlock.h. Where the kernel is older than a
right, that right is not taken.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""The same on every architecture."""
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

_FIRST_RIGHTS = (1 << 13) - 1
_RIGHTS_SINCE = {2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
_TCP_SINCE, _BIND_AND_CONNECT = 4, 0b11
_SCOPES_SINCE, _ABSTRACT_SOCKETS_AND_SIGNALS = 6, 0b11

READING = _READ_FILE | _READ_DIR
WORKING = (
    READING | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
)
"""Plain files and folders; no links, sockets or devices."""


def version() -> int:
    """Give the kernel's version of Landlock; 0 where it has none or may not be asked."""
    return max(0, _call(_CREATE_RULESET, None, 0, _VERSION_FLAG))


def restrict(readable: Iterable[Path], writable: Iterable[Path]) -> bool:
    """Leave this thread and its children only these paths, no TCP and no signals to others.

    Args:
        readable: Files and folders that may be read; missing ones are passed over.
        writable: Folders in which plain files may be made, and files that may be written.

    Returns:
        Whether the kernel has Landlock; nothing has changed where it has none.

    Raises:
        OSError: The kernel has it and refused.
    """
    known = version()
    if not known:
        return False
    rights = _FIRST_RIGHTS
    for since, right in _RIGHTS_SINCE.items():
        rights |= right if known >= since else 0
    attributes = struct.pack(
        "=QQQ",
        rights,
        _BIND_AND_CONNECT if known >= _TCP_SINCE else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if known >= _SCOPES_SINCE else 0,
    )
    # Older kernels refuse fields that they don't know.
    size = 8 if known < _TCP_SINCE else 16 if known < _SCOPES_SINCE else 24
    ruleset = _checked(_call(_CREATE_RULESET, attributes[:size], size, 0))
    try:
        for paths, wanted in ((readable, READING), (writable, WORKING)):
            for path in paths:
                _allow(ruleset, path, wanted & rights)
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _checked(_call(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _OF_FILES
        rule = struct.pack("=Qi", rights, opened)
        _checked(_call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(opened)


def _call(*arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    passed = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    return int(libc.syscall(*passed))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"the kernel refuses a Landlock rule: {os.strerror(number)}")
    return result
