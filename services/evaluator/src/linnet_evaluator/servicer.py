"""EvaluatorService over grpc.aio: convert, call the use case, convert."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from google.protobuf import json_format
from linnet.v1 import evaluation_pb2, evaluator_service_pb2_grpc
from linnet.v1 import evaluator_service_pb2 as pb
from linnet_ml import wire
from linnet_runtime.errors import LinnetError
from linnet_runtime.objectstore import ObjectStore

from linnet_evaluator.evaluate import EvaluationInput, Evaluator
from linnet_evaluator.metrics import EvaluatorMetrics
from linnet_evaluator.record import Evaluation
from linnet_evaluator.single_flight import SingleFlight
from linnet_evaluator.stored_data import FileRef

_KEPT_ANSWERS = 256


class EvaluatorServicer(evaluator_service_pb2_grpc.EvaluatorServiceServicer):
    """Answers evaluations from memory where it can, and works on a few at once.

    Args:
        evaluator: The use case.
        store: Where results are written.
        metrics: Counters.
        concurrency: Requests worked on at once.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        store: ObjectStore,
        metrics: EvaluatorMetrics,
        concurrency: int,
    ) -> None:
        self._evaluator = evaluator
        self._store = store
        self._metrics = metrics
        self._places = asyncio.Semaphore(concurrency)
        self._flights: SingleFlight[evaluation_pb2.Evaluation] = SingleFlight()
        self._kept: OrderedDict[str, evaluation_pb2.Evaluation] = OrderedDict()

    async def Evaluate(  # noqa: N802 (name of the contract)
        self, request: pb.EvaluateRequest, _context: Any
    ) -> pb.EvaluateResponse:
        """Score the variants of a run on its stored split."""
        wanted = EvaluationInput(
            run=request.run,
            run_files=tuple(_file(f) for f in request.run_files),
            dataset_files=tuple(_file(f) for f in request.dataset_files),
            classes=tuple(request.classes),
            dataset_digest=request.dataset_digest,
        )
        key = wanted.fingerprint()
        evaluation = self._kept.get(key)
        if evaluation is None:
            evaluation = await self._flights.run(key, lambda: self._evaluate(key, wanted))
        else:
            self._metrics.answers.labels("evaluate", "memory").inc()
        response = pb.EvaluateResponse(
            evaluation=evaluation,
            variants=dict.fromkeys(s.variant for s in evaluation.sets),
        )
        if request.result_key:
            data = json_format.MessageToJson(
                evaluation, preserving_proto_field_name=True, indent=None
            ).encode()
            await asyncio.to_thread(self._store.put, request.result_key, data, "application/json")
            response.result.name = request.result_key.rsplit("/", 1)[-1]
            response.result.key = request.result_key
            response.result.size_bytes = len(data)
        return response

    async def _evaluate(self, key: str, wanted: EvaluationInput) -> evaluation_pb2.Evaluation:
        result: Evaluation = await self._work("evaluate", self._evaluator.evaluate, wanted)
        evaluation = wire.to_message(result, evaluation_pb2.Evaluation)
        self._kept[key] = evaluation
        while len(self._kept) > _KEPT_ANSWERS:
            self._kept.popitem(last=False)
        return evaluation

    async def _work(self, kind: str, work: Callable[..., Any], *arguments: Any) -> Any:
        self._metrics.waiting.inc()
        try:
            await self._places.acquire()
        finally:
            self._metrics.waiting.dec()
        begun = time.perf_counter()
        self._metrics.running.inc()
        try:
            result = await asyncio.to_thread(work, *arguments)
        except LinnetError as error:
            self._metrics.failures.labels(kind, error.reason).inc()
            raise
        finally:
            self._metrics.running.dec()
            self._places.release()
        self._metrics.work_seconds.labels(kind).observe(time.perf_counter() - begun)
        self._metrics.answers.labels(kind, "work").inc()
        return result


def _file(stored: Any) -> FileRef:
    return FileRef(stored.name, stored.key, stored.size_bytes, stored.sha256)
