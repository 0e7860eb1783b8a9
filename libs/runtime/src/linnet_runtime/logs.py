"""Log lines: one JSON object an event, on standard error."""

import logging
import sys
from typing import TextIO

import structlog

_TELL_ADDRESSES = ("httpx", "httpcore", "urllib3")
"""Libraries that log whole addresses: a presigned one lets in whoever reads it."""


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging; only a `__main__` calls this.

    Args:
        level: Name of the lowest level that is written.
        stream: Where lines go; standard error by default.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _TELL_ADDRESSES:
        logging.getLogger(name).setLevel(logging.WARNING)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Get the logger of that name."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
