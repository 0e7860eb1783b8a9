"""What a trainer says that it has uploaded, checked against the store."""

import asyncio
from collections.abc import Sequence

from linnet.v1 import runner_service_pb2
from linnet_runtime.errors import InvalidInput, NotFound
from linnet_runtime.objectstore import ObjectStore

from linnet_gateway.records import FileRecord, RunRecord
from linnet_gateway.trainers.artifact_names import check_artifact_names

MANIFEST = "manifest.json"


class Uploaded:
    """Looks for files of attempts in the store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def all_there(self, files: Sequence[FileRecord]) -> bool:
        """Say whether every file is there, as large as it should be."""
        return not await asyncio.to_thread(self._missing, files)

    async def of_result(
        self, run: RunRecord, result: runner_service_pb2.TrainingResult
    ) -> tuple[FileRecord, ...]:
        """Give the files of a result.

        Raises:
            InvalidInput: A file is missing, or no attempt may have one of that name.
        """
        check_artifact_names(result.files)
        if not result.files or result.files[-1].name != MANIFEST:
            raise InvalidInput.of("result.files", f"expected {MANIFEST} as the last file")
        # Keys follow from names: what a trainer writes there is not believed.
        files = tuple(
            FileRecord(f.name, run.attempt_key(f.name), f.size_bytes, f.sha256)
            for f in result.files
        )
        missing = await asyncio.to_thread(self._missing, files, run.attempt_key(""))
        if missing:
            raise InvalidInput.of(
                "result.files",
                f"expected every file to be uploaded, missing {', '.join(missing)}",
                reason="FILE_MISSING",
            )
        return files

    def _missing(self, files: Sequence[FileRecord], prefix: str = "") -> list[str]:
        """Name the files that are not there; `prefix` is where all of them are, if it is known."""
        # One request instead of one a file; what a list does not show is asked for by its key.
        listed = {o.key: o.size_bytes for o in self._store.list(prefix)} if prefix else {}
        missing = []
        for file in files:
            if listed.get(file.key) == file.size_bytes:
                continue
            try:
                found = self._store.stat(file.key).size_bytes
            except NotFound:
                found = -1
            if found != file.size_bytes:
                missing.append(f"{file.name} ({max(found, 0)} of {file.size_bytes} bytes)")
        return missing
