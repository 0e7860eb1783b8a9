"""Scripts that many runs of a batch share: stored once, beside specs that only point at them. Pure.

A message that follows another one's bytes is merged into it, and of a script the later one counts:
stored spec and script, one behind the other, are the spec as it was.
"""

from dataclasses import dataclass
from hashlib import sha256

from linnet.v1 import spec_pb2

from linnet_gateway.records import RunRecord

_SMALLEST_BYTES = 1024
"""Scripts that are shorter stay in their specs."""
_POINTER = (
    'raise RuntimeError("the script of this run is stored where an earlier release of the gateway '
    'does not look: create the run again, or let a later release launch it")\n'
)
"""What stands in the spec: a release that knows of no shared scripts must not train without one."""


@dataclass(frozen=True, slots=True)
class Parted:
    """A spec and the script that it shares.

    Attributes:
        spec: Serialized, with a pointer in place of the script.
        digest: SHA-256 of `script`.
        script: What follows the spec's bytes to make it whole.
    """

    spec: bytes
    digest: str
    script: bytes


def parted(run: RunRecord) -> Parted | None:
    """Part a run's spec from the script that it shares with its batch; None if it shares none."""
    if not run.expert or run.batch_uid is None or len(run.spec) < _SMALLEST_BYTES:
        return None
    spec = spec_pb2.TrainingSpec.FromString(run.spec)
    if len(spec.architecture.script) < _SMALLEST_BYTES:
        return None
    source = spec_pb2.Architecture(script=spec.architecture.script)
    script = spec_pb2.TrainingSpec(architecture=source).SerializeToString()
    spec.architecture.script = _POINTER
    return Parted(spec.SerializeToString(), sha256(script).hexdigest(), script)


class StoredSize:
    """Sums up what specs of one batch take where each script is stored once."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._digests: set[str] = set()

    def add(self, run: RunRecord) -> None:
        """Count a run's spec, and its script if it is new."""
        parts = parted(run)
        if parts is None:
            self.size_bytes += len(run.spec)
            return
        self.size_bytes += len(parts.spec)
        if parts.digest not in self._digests:
            self._digests.add(parts.digest)
            self.size_bytes += len(parts.script)
