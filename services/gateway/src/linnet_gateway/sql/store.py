"""All records of a gateway on one database."""

from collections.abc import Callable

from linnet_gateway.ports import Now
from linnet_gateway.sql.audit import SqlAudit
from linnet_gateway.sql.batches import SqlBatches
from linnet_gateway.sql.database import Database
from linnet_gateway.sql.datasets import SqlDatasets
from linnet_gateway.sql.events import SqlEvents
from linnet_gateway.sql.faults import TransactionMetrics
from linnet_gateway.sql.keeping import SqlKeeping
from linnet_gateway.sql.launches import SqlLaunches
from linnet_gateway.sql.runs import SqlRuns
from linnet_gateway.sql.secrets import SqlSecrets
from linnet_gateway.sql.trainings import SqlTrainings
from linnet_gateway.sql.work import SqlWork


class Records:
    """Every kind of record; `close` it at the end."""

    def __init__(self, url: str, now: Now, metrics: TransactionMetrics | None = None) -> None:
        self.database = Database(url, metrics)
        self.datasets = SqlDatasets(self.database)
        self.runs = SqlRuns(self.database, now)
        self.work = SqlWork(self.database)
        self.trainings = SqlTrainings(self.database, now)
        self.launches = SqlLaunches(self.database, now)
        self.batches = SqlBatches(self.database, now)
        self.events = SqlEvents(self.database)
        self.keeping = SqlKeeping(self.database)
        self.secrets = SqlSecrets(self.database)
        self.audit = SqlAudit(self.database, now)

    @property
    def single(self) -> bool:
        """Whether only one gateway may use them."""
        return self.database.is_sqlite

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Have a function called, on the event loop, after each commit of a write."""
        self.database.on_commit(callback)

    def close(self) -> None:
        """Finish what was begun and close every connection."""
        self.database.close()
