"""Composes and runs the profiler service."""

import asyncio
import sys

from linnet.v1 import profiler_service_pb2_grpc
from linnet_runtime import lifecycle, logs, metrics_http
from linnet_runtime.clock import SystemClock
from linnet_runtime.endpoints import write_endpoints
from linnet_runtime.errors import InvalidInput
from linnet_runtime.rpc.admission import guarded_by
from linnet_runtime.rpc.certificates import CertificateFiles, grpc_credentials
from linnet_runtime.rpc.interceptors import RpcMetrics
from linnet_runtime.rpc.server import SHARED_CONNECTION_AGE_S, Drain, Server
from linnet_runtime.s3 import S3Location, S3Store
from linnet_runtime.sandbox import Limits, Sandbox

from linnet_profiler.serving.servicer import ProfilerServicer
from linnet_profiler.serving.settings import ProfilerSettings
from linnet_profiler.serving.use_cases import OpeningLimits, Profiling


async def serve(settings: ProfilerSettings, certificates: CertificateFiles | None = None) -> None:
    """Serve until SIGTERM or SIGINT; without certificates in plain text."""
    log = logs.get("linnet.profiler")
    registry = metrics_http.new_registry()
    store = S3Store(
        S3Location(
            endpoint=settings.store_endpoint,
            access_key=settings.store_access_key,
            secret_key=settings.store_secret_key,
            bucket=settings.store_bucket,
        )
    )
    sandbox = Sandbox(["linnet_profiler.serving.opened"])
    limits = OpeningLimits(
        model_bytes=settings.model_limit_bytes,
        child=Limits(wall_s=settings.child_deadline_s, memory_bytes=settings.child_memory_bytes),
        concurrency=settings.concurrency,
    )
    server = Server(
        ["linnet.v1.ProfilerService"],
        RpcMetrics(registry),
        admission=guarded_by(settings.service_token),
        max_connection_age_s=SHARED_CONNECTION_AGE_S,
    )
    profiler_service_pb2_grpc.add_ProfilerServiceServicer_to_server(
        ProfilerServicer(Profiling(store, sandbox, limits)), server.grpc_server
    )
    credentials = None if certificates is None else grpc_credentials(certificates)
    port = server.listen(f"{settings.host}:{settings.port}", credentials)
    page = metrics_http.MetricsPage(
        registry, settings.host, settings.metrics_port, serving=lambda: server.serving
    )
    await asyncio.to_thread(sandbox.start)
    await server.start()
    address, metrics = f"{settings.host}:{port}", f"http://{settings.host}:{page.port}/metrics"
    if settings.endpoint_file is not None:
        write_endpoints(settings.endpoint_file, {"address": address, "metrics": metrics})
    log.info("serving", address=address, metrics=metrics)
    try:
        came = await lifecycle.until_terminated()
        log.info("stopping", signal=came.name)
    finally:
        drain = Drain(pause_s=settings.drain_pause_s, grace_s=settings.drain_s)
        await server.stop(SystemClock(), drain)
        sandbox.close()
        page.close()


def main() -> int:
    """Run the service; the exit code of the process."""
    try:
        settings = ProfilerSettings.read()
        certificates = settings.certificate_files()
    except InvalidInput as error:
        print(f"linnet-profiler: {error.message}", file=sys.stderr)  # noqa: T201 - no log yet
        return lifecycle.ExitCode.USAGE
    logs.configure(settings.log_level)
    asyncio.run(serve(settings, certificates))
    return lifecycle.ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
