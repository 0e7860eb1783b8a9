"""Datasets: created with addresses to put files to, finalized when these hold what they should."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import sha256

from linnet.v1 import dataset_pb2
from linnet_runtime.clock import Clock
from linnet_runtime.errors import (
    Conflict,
    InvalidInput,
    NotAllowedInState,
    NotFound,
    Unavailable,
)
from linnet_runtime.ids import ResourceName, new_id

from linnet_gateway.addresses import Addresses
from linnet_gateway.converters import etag as etag_of
from linnet_gateway.datasets.files import DatasetFiles, check_declared
from linnet_gateway.object_keys import checked_prefix, dataset_prefix, upload_prefix
from linnet_gateway.ports import Datasets
from linnet_gateway.queries import Page
from linnet_gateway.records import (
    DatasetFacts,
    DatasetRecord,
    FileRecord,
)
from linnet_gateway.states import DatasetState
from linnet_gateway.uids import new_uid

_CHECKS_AT_ONCE = 2


class DatasetRequests:
    """The use cases of datasets."""

    def __init__(
        self, datasets: Datasets, files: DatasetFiles, addresses: Addresses, clock: Clock
    ) -> None:
        self._datasets = datasets
        self._files = files
        self._addresses = addresses
        self._clock = clock
        self._checks = asyncio.Semaphore(_CHECKS_AT_ONCE)

    async def create(
        self,
        *,
        project: str,
        dataset_id: str,
        display_name: str,
        input_kind: int,
        classes: Sequence[str],
        feature_names: Sequence[str],
        files: Sequence[FileRecord],
        request_id: str = "",
    ) -> tuple[DatasetRecord, Sequence[dataset_pb2.PresignedRequest]]:
        """Create a dataset whose files are awaited, and say where to put each.

        Raises:
            InvalidInput: The files can't be those of a dataset.
            AlreadyExists: The id is taken, or the request id by another dataset.
        """
        named = {file.name: file for file in files}
        if len(named) != len(files):
            raise InvalidInput.of("files", "expected each file once, received one twice")
        check_declared(named)
        uid = new_uid()
        id_ = dataset_id or new_id("dataset")
        prefix = upload_prefix(project, id_, uid)
        stored = tuple(replace(file, key=f"{prefix}{file.name}") for file in files)
        dataset = DatasetRecord(
            uid=uid,
            project=project,
            id=id_,
            create_time=self._clock.now(),
            state=DatasetState.UPLOADING,
            display_name=display_name,
            input_kind=input_kind,
            classes=tuple(classes),
            feature_names=tuple(feature_names),
            files=stored,
            request_id=request_id,
        )
        asked = replace(dataset, request_digest=_request_digest(dataset, dataset_id))
        known = await self._datasets.create(asked)
        # What is ready lies elsewhere: an address would lead to nothing.
        awaited = known.files if known.state is DatasetState.UPLOADING else ()
        return known, [self._addresses.upload(file) for file in awaited]

    async def finalize(self, name: ResourceName) -> DatasetRecord:
        """Check the uploaded files and make the dataset ready; a bad one is deleted.

        Raises:
            InvalidInput: A file is missing or wrong; says which and why.
        """
        dataset = await self._datasets.get(name.project, name.id)
        if dataset.state is DatasetState.READY:
            return dataset
        async with self._checks:
            try:
                ready = await self._checked(dataset)
            except InvalidInput:
                await self._datasets.discard(dataset.uid, _prefix(dataset), self._clock.now())
                # Another call may have found the files as they should be, before they were changed.
                current = await self._find(dataset)
                if current is None or current.state is not DatasetState.READY:
                    raise
                return current
        await self._remove(dataset)
        return ready

    async def _checked(self, dataset: DatasetRecord) -> DatasetRecord:
        """Check a copy that nobody can write over, and make it what the dataset is."""
        prefix = checked_prefix(dataset.project, dataset.id, dataset.uid, new_uid())
        apart = replace(
            dataset, files=tuple(replace(f, key=f"{prefix}{f.name}") for f in dataset.files)
        )
        try:
            await asyncio.to_thread(self._files.set_apart, dataset, apart)
            facts = await asyncio.to_thread(self._files.check, apart)
            _check_names(dataset, facts)
        except BaseException:
            await self._remove(apart)
            raise
        # Where its answer is lost nobody knows whether the copies are the dataset by now.
        chosen = await self._datasets.change(
            dataset.uid, partial(_ready, facts=facts, files=apart.files)
        )
        if chosen.files != apart.files:
            await self._remove(apart)
        return chosen

    async def _find(self, dataset: DatasetRecord) -> DatasetRecord | None:
        try:
            found = await self._datasets.get(dataset.project, dataset.id)
        except NotFound:
            return None
        return found if found.uid == dataset.uid else None

    async def _remove(self, dataset: DatasetRecord) -> None:
        # What stays goes with the dataset.
        with suppress(Unavailable):
            await asyncio.to_thread(self._files.remove, dataset)

    async def get(self, name: ResourceName) -> DatasetRecord:
        """Read one; raises `NotFound`."""
        return await self._datasets.get(name.project, name.id)

    async def downloads(self, name: ResourceName) -> Sequence[dataset_pb2.PresignedRequest]:
        """Give an address to read each file from.

        Raises:
            NotAllowedInState: Its files are not checked yet.
        """
        dataset = await self._datasets.get(name.project, name.id)
        if dataset.state is not DatasetState.READY:
            raise NotAllowedInState(
                f"dataset {dataset.name} is {dataset.state.name}, its files are not all there",
                reason="DATASET_NOT_READY",
                metadata={"dataset": dataset.name, "state": dataset.state.name},
            )
        return [self._addresses.download(file) for file in dataset.files]

    async def list(self, project: str, page: Page) -> Sequence[DatasetRecord]:
        """List a page, newest first."""
        return await self._datasets.list(project, page)

    async def delete(self, name: ResourceName, etag: str) -> None:
        """Delete one that no live run uses.

        Raises:
            Conflict: It has another etag.
            NotAllowedInState: A live run uses it.
        """
        dataset = await self._datasets.get(name.project, name.id)
        check_etag(etag, etag_of(dataset.uid, dataset.version), dataset.name)
        await self._datasets.delete(dataset.uid, _prefix(dataset), self._clock.now())


def check_etag(given: str, current: str, name: str) -> None:
    """Refuse a request that was made for another version; raises `Conflict`."""
    if given and given != current:
        raise Conflict(
            f"{name} has etag {current}, the request was for {given}",
            metadata={"name": name, "etag": current},
        )


def _request_digest(dataset: DatasetRecord, dataset_id: str) -> str:
    asked = (
        dataset_id,
        dataset.display_name,
        dataset.input_kind,
        dataset.classes,
        dataset.feature_names,
        [(file.name, file.size_bytes, file.sha256) for file in dataset.files],
    )
    return sha256(repr(asked).encode()).hexdigest()


def _check_names(dataset: DatasetRecord, facts: DatasetFacts) -> None:
    names, shape = dataset.feature_names, facts.input_shape
    if names and len(names) != shape[-1]:
        raise InvalidInput.of(
            "dataset.feature_names",
            f"expected {shape[-1]} names for rows of shape {shape}, received {len(names)}",
            reason="FEATURE_NAME_COUNT",
        )


def _prefix(dataset: DatasetRecord) -> str:
    return dataset_prefix(dataset.project, dataset.id, dataset.uid)


def _ready(
    dataset: DatasetRecord, *, facts: DatasetFacts, files: tuple[FileRecord, ...]
) -> DatasetRecord:
    if dataset.state is DatasetState.READY:
        return dataset
    if dataset.state is not DatasetState.UPLOADING:
        raise NotAllowedInState(f"dataset {dataset.name} is {dataset.state.name}")
    digests = "".join(f.sha256 for f in sorted(dataset.files, key=lambda f: f.name))
    digest = sha256(digests.encode()).hexdigest()
    return replace(dataset, state=DatasetState.READY, files=files, facts=facts, digest=digest)
