"""What a script prints, line by line: what Python writes, and what goes past Python."""

import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Take = Callable[[str], None]
"""Takes a line without its end."""

LONGEST_LINE = 10_000
"""Characters of a printed line; a longer one is broken."""
_RETURN = chr(13)
"""What a progress bar rewrites its line with."""
_READ_BYTES = 65_536
_STREAMS = (1, 2)
_DRAIN_S = 10.0


class Lines(io.TextIOBase):
    """Gives whole lines; threads may write at once."""

    def __init__(self, take: Take) -> None:
        super().__init__()
        self._take = take
        self._rest = ""
        self._one = threading.RLock()

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Take text; a line goes when it is whole, as a progress bar left it."""
        with self._one:
            *whole, self._rest = (self._rest + text).split("\n")
            while len(self._rest) > LONGEST_LINE:
                whole.append(self._rest[:LONGEST_LINE])
                self._rest = self._rest[LONGEST_LINE:]
            for line in whole:
                self._take(line.rsplit(_RETURN, 1)[-1][:LONGEST_LINE])
        return len(text)

    def flush(self) -> None:
        """Do nothing: half a line waits for its end."""

    def end(self) -> None:
        """Give the half line that waits: nothing follows."""
        with self._one:
            if self._rest:
                self.write("\n")


@contextmanager
def past_python(take: Take) -> Iterator[None]:
    """Take what is written to the process' own output and errors, as `tf.print` does.

    Starts a thread.
    """
    reading, writing = os.pipe()
    for stream in _STREAMS:
        os.dup2(writing, stream)
    os.close(writing)
    reader = threading.Thread(target=_relay, args=(reading, take), name="printing", daemon=True)
    reader.start()
    try:
        yield
    finally:
        # The pipe ends with its last writer.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in _STREAMS:
            os.dup2(nowhere, stream)
        os.close(nowhere)
        reader.join(_DRAIN_S)


def _relay(reading: int, take: Take) -> None:
    lines = Lines(take)
    with open(reading, "rb", buffering=0) as pipe:
        while data := pipe.read(_READ_BYTES):
            lines.write(data.decode("utf-8", "replace"))
    lines.end()
