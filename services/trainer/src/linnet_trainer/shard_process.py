"""Composes a trainer that works for a gateway; its exit code tells the launcher what to do."""

import os
import secrets
import shutil
import signal
import tempfile
import threading
from importlib.metadata import version
from pathlib import Path

from linnet_runtime import logs
from linnet_runtime.errors import (
    InvalidInput,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from linnet_runtime.lifecycle import ExitCode

from linnet_trainer.settings import TrainerSettings, read_settings
from linnet_trainer.startup import Workshop, workshop


def run_shard() -> ExitCode:
    """Train all runs of the shard that the environment names."""
    logs.configure()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    # The workshop forks what scripts run in, so it comes before the token is in memory.
    with workshop() as shop:
        return _with_settings(shop, stopping)


def _with_settings(shop: Workshop, stopping: threading.Event) -> ExitCode:
    log = logs.get("linnet_trainer")
    try:
        settings = read_settings()
        index = settings.shard_index()
    except InvalidInput as error:
        log.error("bad_settings", message=error.message)  # noqa: TRY400 - the message says all
        return ExitCode.USAGE
    scratch = Path(tempfile.mkdtemp(prefix="linnet-trainer-", dir=settings.scratch))
    try:
        return _work(settings, index, shop, scratch, stopping)
    except Unavailable as error:
        log.error("unavailable", message=error.message)  # noqa: TRY400 - as above
        return ExitCode.UNAVAILABLE
    except (Unauthenticated, PermissionDenied, InvalidInput) as error:
        log.error("refused", message=error.message, reason=error.reason)  # noqa: TRY400 - as above
        return ExitCode.BAD_CONFIG
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _work(
    settings: TrainerSettings, index: int, shop: Workshop, scratch: Path, stopping: threading.Event
) -> ExitCode:
    from linnet_trainer.runner.grpc_runner import Gateway, GrpcRunner
    from linnet_trainer.runner.shard import Shard, ShardParts
    from linnet_trainer.runner.transfers import Transfers
    from linnet_trainer.train_one import train_one

    gateway = Gateway(
        address=settings.gateway,
        launch_token=settings.token.get_secret_value(),
        certificate_file=settings.gateway_ca_file,
        patience_s=settings.patience_s,
        version=version("linnet-trainer"),
        # Another one for each process, so that what ended one is never charged to the next.
        trainer=settings.name or secrets.token_hex(8),
    )
    log = logs.get("linnet_trainer")
    runner = GrpcRunner(gateway)
    transfers = Transfers(lambda message: log.warning("store_away", message=message))
    try:
        parts = ShardParts(
            runner=runner,
            transfers=transfers,
            train=lambda order, events, folder: train_one(shop, order, events, folder),
            scratch=scratch,
            stopping=stopping,
            memory_bytes=resident_bytes,
            log=log.info,
        )
        return Shard(parts).run(index)
    finally:
        transfers.close()
        runner.close()


def resident_bytes() -> int:
    """Give the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
