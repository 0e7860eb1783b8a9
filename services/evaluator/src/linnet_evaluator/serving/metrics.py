"""The evaluator's own figures on /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class EvaluatorMetrics:
    """Work done, work shared, and failures by reason."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.work_seconds = Histogram(
            "linnet_evaluator_work_seconds",
            "Duration of work that was done rather than answered from memory or shared.",
            ["kind"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self.answers = Counter(
            "linnet_evaluator_answers",
            "Answers by kind of request and where they came from: work, memory, store or shared.",
            ["kind", "source"],
            registry=registry,
        )
        self.failures = Counter(
            "linnet_evaluator_failures",
            "Failed requests by kind and stable reason.",
            ["kind", "reason"],
            registry=registry,
        )
        self.running = Gauge(
            "linnet_evaluator_running", "Requests that are worked on now.", registry=registry
        )
        self.waiting = Gauge(
            "linnet_evaluator_waiting", "Requests that wait for a place.", registry=registry
        )
