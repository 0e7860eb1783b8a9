"""The evaluator's process: settings, adapters, server."""

import asyncio
import gc
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from linnet.v1 import evaluator_service_pb2, evaluator_service_pb2_grpc
from linnet_runtime import logs
from linnet_runtime.clock import SystemClock
from linnet_runtime.errors import InvalidInput
from linnet_runtime.lifecycle import ExitCode, until_terminated
from linnet_runtime.metrics_http import MetricsPage, new_registry
from linnet_runtime.rpc.admission import guarded_by
from linnet_runtime.rpc.certificates import CertificateFiles, grpc_credentials
from linnet_runtime.rpc.interceptors import RpcMetrics
from linnet_runtime.rpc.server import SHARED_CONNECTION_AGE_S, Drain, Server
from linnet_runtime.s3 import S3Store
from linnet_runtime.sandbox import Sandbox
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from linnet_evaluator.evaluate import Evaluator
from linnet_evaluator.exploring.explorer import Explorer
from linnet_evaluator.exploring.projector import WARM_MODULES, SandboxProjector
from linnet_evaluator.running.model_runner import INFERENCE, ModelRunner
from linnet_evaluator.serving.metrics import EvaluatorMetrics
from linnet_evaluator.serving.servicer import EvaluatorServicer
from linnet_evaluator.serving.settings import EvaluatorSettings
from linnet_evaluator.serving.workplace import Workplace
from linnet_evaluator.stored.data import DatasetCache

_TURN_S = 0.0005
_SERVICE = evaluator_service_pb2.DESCRIPTOR.services_by_name["EvaluatorService"].full_name


def _tell(path: Path, address: str, metrics: str) -> None:
    """Write where the process serves; a reader sees the whole file or none."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps({"address": address, "metrics": metrics}), encoding="utf-8")
    draft.replace(path)


async def serve(settings: EvaluatorSettings, certificates: CertificateFiles | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then let calls end; without certificates in plain text."""
    log = logs.get("linnet.evaluator")
    models, projections = Sandbox([INFERENCE]), Sandbox(WARM_MODULES, subject="PROJECTION")
    # Before gRPC has threads; children are forked by these two, never by this process.
    await asyncio.gather(*(asyncio.to_thread(zygote.start) for zygote in (models, projections)))
    # What was imported lives as long as the process: no collection need look at it.
    gc.freeze()
    # A thread that the store or a child has answered waits this long for one that computes.
    sys.setswitchinterval(_TURN_S)
    # Requests have threads; matrix products that add their own only wait for each other.
    threadpool_limits(1)
    registry = new_registry()
    store = S3Store(settings.store)
    data = DatasetCache(store, settings.dataset_cache_bytes)
    runner = ModelRunner(models, settings.model_limits)
    with ThreadPoolExecutor(2 * settings.concurrency, "model") as pool:
        evaluator = Evaluator(store, data, runner, pool)
        projector = SandboxProjector(projections, settings.projection_limits)
        server = Server(
            [_SERVICE],
            RpcMetrics(registry),
            admission=guarded_by(settings.service_token),
            max_connection_age_s=SHARED_CONNECTION_AGE_S,
        )
        evaluator_service_pb2_grpc.add_EvaluatorServiceServicer_to_server(
            EvaluatorServicer(
                evaluator,
                Explorer(store, data, runner, evaluator, projector),
                store,
                Workplace(EvaluatorMetrics(registry), settings.concurrency),
            ),
            server.grpc_server,
        )
        credentials = None if certificates is None else grpc_credentials(certificates)
        port = server.listen(f"{settings.host}:{settings.port}", credentials)
        page = MetricsPage(
            registry, settings.host, settings.metrics_port, serving=lambda: server.serving
        )
        await server.start()
        address = f"{settings.host}:{port}"
        if settings.endpoint_file is not None:
            _tell(settings.endpoint_file, address, f"{settings.host}:{page.port}")
        log.info("serving", address=address, metrics_port=page.port)
        came = await until_terminated()
        log.info("draining", signal=came.name)
        await server.stop(SystemClock(), Drain(grace_s=settings.drain_s))
        models.close()
        projections.close()
        page.close()


def main() -> None:
    """Run the evaluator."""
    try:
        settings = EvaluatorSettings.read()
        certificates = settings.certificate_files()
    except InvalidInput as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(ExitCode.USAGE) from error
    logs.configure(settings.log_level)
    asyncio.run(serve(settings, certificates))


if __name__ == "__main__":
    main()
