"""Functions that sandbox tests run in children."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from linnet_runtime.errors import InvalidInput


def echo(arguments, inputs):
    """Give back the arguments and the inputs."""
    return arguments, [bytes(view) for view in inputs]


def where(_, __):
    """Tell of the process."""
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "modules": sorted(sys.modules),
        "environment": sorted(os.environ),
        "files": len(list(Path("/proc/self/fd").iterdir())),
    }, []


def act(arguments, inputs):
    """Do one harmful thing."""
    getattr(_Harm, arguments["what"])(inputs)
    return None, []


class _Harm:
    @staticmethod
    def segfault(_):
        ctypes.string_at(0)

    @staticmethod
    def abort(_):
        os.abort()

    @staticmethod
    def hang(_):
        time.sleep(60)

    @staticmethod
    def spin(_):
        while True:
            pass

    @staticmethod
    def memory(_):
        bytearray(1 << 40)

    @staticmethod
    def memory_slowly(_):
        held = []
        while True:
            held.append(bytearray(1 << 24))

    @staticmethod
    def refuse(_):
        raise InvalidInput.of("layers[2]", "expected 3, received 4", reason="NO_GOOD")

    @staticmethod
    def fail(_):
        raise ValueError("strange bytes")

    @staticmethod
    def leave(_):
        os._exit(3)

    @staticmethod
    def write_input(inputs):
        inputs[0][0] = 1

    @staticmethod
    def fill_disk(_):
        with Path("/tmp/linnet-sandbox-test").open("wb") as file:
            while True:
                file.write(b"x" * (1 << 20))

    @staticmethod
    def call_out(_):
        socket.create_connection(("127.0.0.1", 9), timeout=1)

    @staticmethod
    def start_program(_):
        subprocess.run(["true"], check=True)

    @staticmethod
    def fork(_):
        os.fork()

    @staticmethod
    def kill_parent(_):
        os.kill(os.getppid(), signal.SIGKILL)


def too_much(_, __):
    """Answer more than is allowed."""
    return None, [bytes(1 << 22)]


def lie(_, __):
    """Answer with sizes that are wrong, by writing to every descriptor."""
    import struct

    text = b'{"value": 1, "sizes": [99999999]}'
    for file in Path("/proc/self/fd").iterdir():
        try:
            if "linnet-output" in str(file.readlink()):
                os.write(int(file.name), struct.pack("<Q", len(text)) + text)
        except OSError:
            continue
    os._exit(0)


def not_json(_, __):
    """Answer with what JSON has not."""
    return {"value": object()}, []
