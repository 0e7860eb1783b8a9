"""`promtool check metrics`, which comes with Prometheus, on a page of metrics."""

import shutil
import subprocess


def installed() -> bool:
    """Whether this machine has it."""
    return shutil.which("promtool") is not None


def complaints(page: bytes) -> str:
    """Give what it says against a page in Prometheus' text format; nothing if it is clean."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, check=False, timeout=60
    )
    said = (done.stdout + done.stderr).decode().strip()
    return said or (f"it ended with code {done.returncode}" if done.returncode else "")
