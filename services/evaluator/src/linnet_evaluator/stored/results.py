"""Results of evaluations in the store, found again by their fingerprint."""

import hashlib
from collections.abc import Callable

from google.protobuf import json_format
from linnet.v1 import evaluation_pb2
from linnet_runtime.errors import InvalidInput, NotFound
from linnet_runtime.objectstore import ObjectStore

from linnet_evaluator.serving.messages import Plain, to_json
from linnet_evaluator.stored.data import FileRef, read
from linnet_evaluator.stored.scores_file import StoredScores, from_bytes, to_bytes

_SCORES_LIMIT_BYTES = 1 << 30


def _ref(key: str, data: bytes) -> FileRef:
    return FileRef(key.rsplit("/", 1)[-1], key, len(data), hashlib.sha256(data).hexdigest())


class Results:
    """Reads and writes evaluation.json and scores.npz; blocks.

    Args:
        store: Where they are.
        keep: Told of scores that were written, so that thresholds need not read them.
    """

    def __init__(self, store: ObjectStore, keep: Callable[[str, StoredScores], None]) -> None:
        self._store = store
        self._keep = keep

    def find(self, key: str, scores_key: str, fingerprint: str) -> evaluation_pb2.Evaluation | None:
        """Give the stored evaluation of that fingerprint, if its scores are there too."""
        if not key:
            return None
        try:
            found = json_format.Parse(
                self._store.get(key), evaluation_pb2.Evaluation(), ignore_unknown_fields=True
            )
            if found.fingerprint != fingerprint:
                return None
            if scores_key and from_bytes(self._store.get(scores_key)).fingerprint != fingerprint:
                return None
        except (NotFound, InvalidInput, json_format.ParseError):
            return None
        return found

    def write(self, key: str, evaluation: Plain) -> FileRef | None:
        """Store an evaluation as JSON, field names as in the contract; nowhere for an empty key."""
        if not key:
            return None
        data = to_json(evaluation)
        self._store.put(key, data, "application/json")
        return _ref(key, data)

    def write_scores(self, key: str, scores: StoredScores) -> FileRef | None:
        """Store the scores of every row; nowhere for an empty key."""
        if not key:
            return None
        data = to_bytes(scores)
        self._store.put(key, data)
        ref = _ref(key, data)
        self._keep(ref.sha256, scores)
        return ref

    def read_scores(self, file: FileRef) -> StoredScores:
        """Read stored scores.

        Raises:
            InvalidInput: They are no scores, or not those that the digest names.
        """
        return from_bytes(read(self._store, file, limit_bytes=_SCORES_LIMIT_BYTES))

    def all_exist(self, *keys: str) -> bool:
        """Whether the store has every key that is not empty; a deleted run's files are gone."""
        try:
            for key in filter(None, keys):
                self._store.stat(key)
        except NotFound:
            return False
        return True

    def describe(self, key: str) -> FileRef | None:
        """Describe a stored object, or give None."""
        try:
            data = self._store.get(key)
        except NotFound:
            return None
        return _ref(key, data)
