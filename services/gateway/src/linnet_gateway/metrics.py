"""What the gateway tells Prometheus."""

from collections.abc import Mapping

from linnet.v1 import run_pb2
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from linnet_gateway.records import RunRecord
from linnet_gateway.states import RunState, StageKind

MAX_LIVE_RUNS = 1000
MAX_LIVE_BATCHES = 100
_MAX_PROJECTS = 100
_STAGE_BUCKETS_S = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0)
_DATABASE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)


class DatabaseMetrics:
    """Transactions of the records."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "linnet_db_transaction_duration_seconds",
            "Duration of transactions, `read` or `write`.",
            ["op"],
            buckets=_DATABASE_BUCKETS_S,
            registry=registry,
        )
        self._errors = Counter(
            "linnet_db_errors", "Transactions that failed.", ["op", "kind"], registry=registry
        )

    def transaction(self, operation: str, seconds: float) -> None:
        """Count a transaction."""
        self._seconds.labels(operation).observe(seconds)

    def error(self, operation: str, kind: str) -> None:
        """Count an error."""
        self._errors.labels(operation, kind).inc()


class _LiveSeries:
    """The series of one live run; finding one by its labels costs more than setting it."""

    def __init__(self, labels: tuple[str, str]) -> None:
        self._labels = labels
        self._series: dict[tuple[Gauge, str], Gauge] = {}

    def set(self, gauge: Gauge, split: str, value: float) -> None:
        """Set a value; makes the series the first time."""
        series = self._series.get((gauge, split))
        if series is None:
            series = self._series[gauge, split] = gauge.labels(*self._labels, split)
        series.set(value)

    def remove(self) -> None:
        """Drop them all."""
        for gauge, split in self._series:
            gauge.remove(*self._labels, split)


class RunMetrics:
    """Runs by state, how long their stages took, and what live ones report.

    The number of series is bounded: a hundred projects, further ones count as `other`, a hundred
    live batches with one series a state, and a thousand live runs with four series each, further
    ones are counted.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._runs = Gauge(
            "linnet_runs",
            "Runs that are not terminal, by state.",
            ["project", "state"],
            registry=registry,
        )
        self._finished = Counter(
            "linnet_runs_finished",
            "Runs that became terminal.",
            ["project", "outcome", "reason"],
            registry=registry,
        )
        self._queue = Histogram(
            "linnet_run_queue_seconds",
            "Time from acceptance to the first report of a trainer.",
            buckets=_STAGE_BUCKETS_S,
            registry=registry,
        )
        self._stage = Histogram(
            "linnet_run_stage_duration_seconds",
            "Duration of the stages of terminal runs.",
            ["stage", "outcome"],
            buckets=_STAGE_BUCKETS_S,
            registry=registry,
        )
        self._oldest = Gauge(
            "linnet_run_oldest_queued_seconds",
            "Age of the run that has been queued for longest; 0 without one.",
            registry=registry,
        )
        self._loss = Gauge(
            "linnet_run_loss",
            "Loss of the last epoch of live runs.",
            ["project", "run", "split"],
            registry=registry,
        )
        self._accuracy = Gauge(
            "linnet_run_accuracy",
            "Accuracy of the last epoch of live runs, 0 to 1.",
            ["project", "run", "split"],
            registry=registry,
        )
        self._live_count = Gauge(
            "linnet_labelled_runs", "Live runs that have series of their own.", registry=registry
        )
        self._dropped = Counter(
            "linnet_labelled_runs_dropped",
            "Live runs that got no series of their own.",
            registry=registry,
        )
        self._batches = Gauge(
            "linnet_batch_runs",
            "Runs of batches that are not done, by state; of the hundred oldest such batches.",
            ["project", "batch", "state"],
            registry=registry,
        )
        self._epochs = Counter("linnet_run_epochs", "Epochs reported.", registry=registry)
        self._projects: set[str] = set()
        self._live: dict[str, _LiveSeries] = {}
        self._left_out: set[str] = set()

    def _project(self, project: str) -> str:
        if project not in self._projects and len(self._projects) >= _MAX_PROJECTS:
            return "other"
        self._projects.add(project)
        return project

    def counted(self, counts: Mapping[tuple[str, RunState], int], oldest_s: float) -> None:
        """Take the numbers of live runs by project and state, and the age of the oldest queued."""
        totals: dict[tuple[str, str], int] = {}
        for (project, state), count in counts.items():
            key = (self._project(project), state.name.lower())
            totals[key] = totals.get(key, 0) + count
        self._runs.clear()
        for key, count in totals.items():
            self._runs.labels(*key).set(count)
        self._oldest.set(oldest_s)

    def batches_counted(self, counts: Mapping[tuple[str, str, RunState], int]) -> None:
        """Take the numbers of runs by project, batch and state; a batch left out is gone."""
        self._batches.clear()
        for (project, batch, state), count in counts.items():
            self._batches.labels(self._project(project), batch, state.name.lower()).set(count)

    def epochs_reported(self, count: int) -> None:
        """Count epochs."""
        self._epochs.inc(count)

    def epoch(self, run: RunRecord, epoch: run_pb2.Epoch) -> None:
        """Take the latest epoch of a live run."""
        if run.uid not in self._live:
            if len(self._live) >= MAX_LIVE_RUNS:
                if run.uid not in self._left_out:
                    self._left_out.add(run.uid)
                    self._dropped.inc()
                return
            self._live[run.uid] = _LiveSeries((self._project(run.project), run.id))
            self._live_count.set(len(self._live))
        series = self._live[run.uid]
        series.set(self._loss, "training", epoch.loss)
        series.set(self._accuracy, "training", epoch.accuracy)
        if epoch.HasField("val_loss"):
            series.set(self._loss, "validation", epoch.val_loss)
        if epoch.HasField("val_accuracy"):
            series.set(self._accuracy, "validation", epoch.val_accuracy)

    def left(self, uid: str) -> None:
        """Drop the series of a run that is no longer live."""
        self._left_out.discard(uid)
        series = self._live.pop(uid, None)
        if series is None:
            return
        self._live_count.set(len(self._live))
        series.remove()

    def ended(self, run: RunRecord) -> None:
        """Count a run that became terminal."""
        reason = "" if run.failure is None else run.failure.reason.name.lower()
        self._finished.labels(self._project(run.project), run.state.name.lower(), reason).inc()
        if run.start_time is not None:
            self._queue.observe((run.start_time - run.create_time).total_seconds())
        for stage in run.stages:
            if stage.start_time is not None and stage.end_time is not None:
                outcome = stage.state.name.lower()
                seconds = (stage.end_time - stage.start_time).total_seconds()
                self._stage.labels(StageKind(stage.kind).name.lower(), outcome).observe(seconds)
