"""What a process gives up before it runs an expert script.

The script has the trainer's interpreter and the kernel, and nothing else of the machine: no
credential in memory, environment or reach, no file but its own folder and the libraries, no
network, no other process. docs/security.md says what each line rests on.
"""

import ctypes
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from linnet_runtime import seccomp

from linnet_trainer.scripts import landlock

MOST_FILE_BYTES = 512 << 20
"""Largest file of a script; the trainer reads artifacts into memory."""
MOST_OPEN_FILES = 1024
MOST_THREADS = 512
"""Threads of a script under a user of its own; otherwise its address space bounds them."""
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "KERAS_BACKEND", "OMP_NUM_THREADS")
_FIRST_USER, _USERS = 61_184, 4_336
"""The range that systemd keeps for users who exist while a service runs."""
_SYSTEM = (
    "/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types",
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version",
    "/proc/filesystems", "/proc/sys/vm/overcommit_memory", "/sys/devices/system",
    "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom",
)  # fmt: skip
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 4, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_ENV_START_FIELD, _ENV_END_FIELD = 49, 50
"""Of /proc/self/stat, counted from 0, see proc(5)."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What holds for a process.

    Attributes:
        own_user: Whether it runs as a user of its own.
        landlock: Whether the kernel keeps it to its files.
    """

    own_user: bool
    landlock: bool

    @property
    def files_kept(self) -> bool:
        """Whether it can't read files of the trainer's user."""
        return self.own_user or self.landlock


def shield() -> None:
    """Keep other processes of this user out of this one's memory and environment."""
    _prctl(_PR_SET_DUMPABLE, 0)


def end_with_parent() -> None:
    """Have the kernel kill this process when the thread that forked it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def make_folder(folder: Path) -> None:
    """Give an empty folder to the user of a script that will run in a child of this process."""
    if own_user_possible(folder):
        user = _user(os.getpid())
        os.chown(folder, user, user)


def own_user_possible(folder: Path) -> bool:
    """Whether this process may change its user, who could then reach interpreter and folder."""
    if os.geteuid() != 0:
        return False
    needed = {Path(sys.executable).resolve(), *_libraries(), folder}
    return all(_is_open(place) for path in needed for place in path.parents)


def _is_open(folder: Path) -> bool:
    try:
        return bool(folder.stat().st_mode & 0o001)
    except OSError:
        return False


def confine(folder: Path, memory_bytes: int) -> Confinement:
    """Give up everything but computing, reading libraries and writing into one folder.

    Must come before the process has a second thread, since the kernel confines threads.

    Args:
        folder: The process' own folder, `make_folder` made it.
        memory_bytes: Address space on top of what is mapped already.

    Raises:
        OSError: The kernel refused.
    """
    _forget_environment(folder)
    _limit(memory_bytes)
    own_user = False
    if os.geteuid() == 0:
        owner = folder.stat().st_uid
        own_user = owner != 0
        if own_user:
            os.setgroups([])
            os.setgid(owner)
            os.setuid(owner)
            resource.setrlimit(resource.RLIMIT_NPROC, (MOST_THREADS, MOST_THREADS))
        _drop_capabilities()
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    # A change of user takes this back.
    end_with_parent()
    readable = [*map(Path, _SYSTEM), *_libraries()]
    kept = landlock.restrict(readable, [folder, Path(os.devnull)])
    seccomp.forbid(seccomp.Allowance(threads=True, files=True))
    return Confinement(own_user, kept)


def _libraries() -> Iterator[Path]:
    """Give the folders that modules are imported from, without the folder of the caller."""
    yield from {Path(sys.prefix), Path(sys.base_prefix)}
    here = Path.cwd()
    for entry in sys.path:
        path = Path(entry)
        if entry and path.is_dir() and path != here:
            yield path


def _user(owner_pid: int) -> int:
    return _FIRST_USER + owner_pid % _USERS


def _forget_environment(folder: Path) -> None:
    """Drop variables, and overwrite the memory in which the kernel handed them over."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, HOME=str(folder), TMPDIR=str(folder), KERAS_HOME=str(folder))
    # It was asked for before and keeps its answer.
    tempfile.tempdir = str(folder)
    fields = Path("/proc/self/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    # Two fields come before the closing bracket.
    start, end = (int(fields[index - 2]) for index in (_ENV_START_FIELD, _ENV_END_FIELD))
    if 0 < start < end:
        ctypes.memset(start, 0, end - start)


def _limit(memory_bytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    mapped = pages * os.sysconf("SC_PAGE_SIZE")
    for kind, most in (
        (resource.RLIMIT_AS, mapped + memory_bytes),
        (resource.RLIMIT_FSIZE, MOST_FILE_BYTES),
        (resource.RLIMIT_NOFILE, MOST_OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (limit, limit))


def _drop_capabilities() -> None:
    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    header = Header(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    if libc.capset(ctypes.byref(header), ctypes.byref(nothing)):
        number = ctypes.get_errno()
        raise OSError(number, f"capabilities can't be dropped: {os.strerror(number)}")


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}) failed: {os.strerror(number)}")
