"""Keys that every replica must know, in SQL."""

import secrets

from sqlalchemy import Connection, insert, select

from linnet_gateway.sql import schema
from linnet_gateway.sql.database import Database

_KEY_BYTES = 32


class SqlSecrets:
    """Keys by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def key(self, name: str) -> bytes:
        """Give the key of a name, 32 random bytes, made when it is first asked for."""

        def work(connection: Connection) -> bytes:
            query = select(schema.secrets.c.value).where(schema.secrets.c.name == name)
            found = connection.execute(query).scalar()
            if found is not None:
                return bytes(found)
            made = secrets.token_bytes(_KEY_BYTES)
            connection.execute(insert(schema.secrets).values(name=name, value=made))
            return made

        return await self._database.write(work)
