"""Computed arrays, kept in the store by what they were computed from."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from linnet_runtime.errors import InvalidInput, NotFound
from linnet_runtime.objectstore import ObjectStore
from numpy.typing import NDArray

from linnet_evaluator.stored.run_files import read_npz
from linnet_evaluator.stored.scores_file import pack

Arrays = dict[str, NDArray[Any]]


class ArrayCache:
    """Arrays below a prefix of the store, as compressed .npz files."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def get(
        self, prefix: str, kind: str, of: Sequence[Any], compute: Callable[[], Arrays]
    ) -> Arrays:
        """Give arrays from the store, else compute and store them.

        Args:
            prefix: Key prefix; empty computes them each time.
            kind: First word of the file's name.
            of: Everything that the arrays depend on, as JSON values.
            compute: Makes them.
        """
        if not prefix:
            return compute()
        digest = hashlib.sha256(json.dumps(list(of)).encode()).hexdigest()
        key = f"{prefix.rstrip('/')}/{kind}-{digest[:32]}.npz"
        try:
            return read_npz(self._store.get(key), kind)
        except (NotFound, InvalidInput):  # never computed, or cut short
            arrays = compute()
        self._store.put(key, pack(arrays))
        return arrays
