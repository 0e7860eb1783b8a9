"""Output that lies in the object store."""

from linnet_gateway.records import LogChunk
from linnet_gateway.sql import schema
from linnet_gateway.sql.store import Records


async def stored(records: Records, chunk: LogChunk) -> None:
    """Note a chunk as if its events had just been archived."""
    run = await records.runs.get_uid(chunk.run_uid)
    row = {
        "kind": 1,
        "subject": run.uid,
        "attempt": chunk.attempt,
        "first": chunk.first,
        "last": chunk.last,
        "create_time": 0,
        "payload": b"",
    }
    await records.database.write(lambda c: c.execute(schema.events.insert(), row).rowcount)
    await records.events.archive(chunk)
