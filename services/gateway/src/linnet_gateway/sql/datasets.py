"""Datasets in SQL."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from linnet_runtime.errors import AlreadyExists, NotAllowedInState, NotFound
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from linnet_gateway.queries import Page
from linnet_gateway.records import DatasetRecord
from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import dataset_row, load_dataset
from linnet_gateway.sql.database import Database
from linnet_gateway.sql.pages import before
from linnet_gateway.sql.prepared import Prepared
from linnet_gateway.sql.runs import doom
from linnet_gateway.states import DatasetState, RunState

_BY_NAME = Prepared(
    select(schema.datasets).where(
        schema.datasets.c.project == bindparam("of_project"),
        schema.datasets.c.id == bindparam("of_id"),
    )
)
_COLUMNS = schema.datasets.c.keys()


class SqlDatasets:
    """Records of datasets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, dataset: DatasetRecord) -> DatasetRecord:
        """Store a new one, or give the one that the same request made before."""
        columns = schema.datasets.c

        def work(connection: Connection) -> DatasetRecord:
            known = _same_request(connection, dataset)
            if known is not None:
                return known
            query = select(columns.uid).where(
                columns.project == dataset.project, columns.id == dataset.id
            )
            if connection.execute(query).first() is not None:
                raise AlreadyExists(
                    f"dataset {dataset.name!r} exists",
                    reason="DATASET_EXISTS",
                    metadata={"name": dataset.name},
                )
            connection.execute(insert(schema.datasets).values(**dataset_row(dataset)))
            return dataset

        return await self._database.write(work)

    async def get(self, project: str, id_: str) -> DatasetRecord:
        """Read one; raises `NotFound`."""
        values = {"of_project": project, "of_id": id_}

        def work(connection: Connection) -> DatasetRecord:
            row = _BY_NAME.first(connection, values)
            if row is None:
                raise NotFound("dataset", f"projects/{project}/datasets/{id_}")
            return load_dataset(dict(zip(_COLUMNS, row, strict=True)))

        return await self._database.look_up(work)

    async def list(self, project: str, page: Page) -> Sequence[DatasetRecord]:
        """List a page, newest first."""
        columns = schema.datasets.c
        query = (
            select(schema.datasets)
            .where(columns.project == project, before(page, columns))
            .order_by(columns.create_time.desc(), columns.uid.desc())
            .limit(page.size)
        )

        def work(connection: Connection) -> list[DatasetRecord]:
            return [load_dataset(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)

    async def change(
        self, uid: str, decide: Callable[[DatasetRecord], DatasetRecord]
    ) -> DatasetRecord:
        """Change one; raises `NotFound` or what `decide` raises."""

        def work(connection: Connection) -> DatasetRecord:
            old = _get(connection, uid)
            new = decide(old)
            if new == old:
                return old
            new = replace(new, version=old.version + 1)
            statement = update(schema.datasets).where(schema.datasets.c.uid == uid)
            connection.execute(statement.values(**dataset_row(new)))
            return new

        return await self._database.write(work)

    async def delete(self, uid: str, prefix: str, now: datetime) -> None:
        """Delete one that no live run uses and doom its objects."""

        def work(connection: Connection) -> None:
            dataset = _get(connection, uid)
            columns = schema.runs.c
            query = select(columns.id).where(
                columns.project == dataset.project,
                columns.dataset == dataset.id,
                columns.state < int(RunState.SUCCEEDED),
            )
            user = connection.execute(query.limit(1)).first()
            if user is not None:
                raise NotAllowedInState(
                    f"dataset {dataset.name!r} is used by run {user[0]!r}, which is not terminal",
                    reason="DATASET_IN_USE",
                    metadata={"dataset": dataset.name, "run": user[0]},
                )
            _drop(connection, uid, prefix, now)

        await self._database.write(work)

    async def discard(self, uid: str, prefix: str, now: datetime) -> None:
        """Delete one whose files are still awaited and doom its objects; no other."""
        columns = schema.datasets.c
        query = select(columns.state).where(columns.uid == uid)

        def work(connection: Connection) -> None:
            if connection.execute(query).scalar() == int(DatasetState.UPLOADING):
                _drop(connection, uid, prefix, now)

        await self._database.write(work)


def _drop(connection: Connection, uid: str, prefix: str, now: datetime) -> None:
    connection.execute(delete(schema.datasets).where(schema.datasets.c.uid == uid))
    doom(connection, [prefix], now)


def _same_request(connection: Connection, dataset: DatasetRecord) -> DatasetRecord | None:
    if not dataset.request_id:
        return None
    columns = schema.datasets.c
    # The pair stands in the document exactly like this: there are few datasets, and no index.
    pair = f'"request_id": {json.dumps(dataset.request_id)}'
    query = select(schema.datasets).where(
        columns.project == dataset.project, columns.document.contains(pair, autoescape=True)
    )
    for row in connection.execute(query).mappings():
        known = load_dataset(row)
        if known.request_id != dataset.request_id:
            continue
        if known.request_digest == dataset.request_digest:
            return known
        raise AlreadyExists(
            f"request id {dataset.request_id!r} was used for another dataset, {known.name}",
            reason="REQUEST_ID_REUSED",
            metadata={"request_id": dataset.request_id, "name": known.name},
        )
    return None


def _get(connection: Connection, uid: str) -> DatasetRecord:
    query = select(schema.datasets).where(schema.datasets.c.uid == uid)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound("dataset", uid)
    return load_dataset(row)
