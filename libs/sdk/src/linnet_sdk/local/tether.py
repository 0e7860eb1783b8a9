"""Runs a program that ends when its parent does: `tether.py PARENT PROGRAM ARGUMENTS`.

The kernel then sends SIGTERM to the program when the process that started it is gone, even by
kill -9. This is a program of its own because setting it between fork and exec would run Python in a
forked copy of a process with threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Ask for the signal, make sure that the parent has not died before, and become the program."""
    parent, *command = arguments
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit(128 + signal.SIGTERM)
    os.execv(command[0], command)  # noqa: S606 - the very purpose; the command is a list


if __name__ == "__main__":
    main(sys.argv[1:])
