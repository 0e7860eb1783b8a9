"""Methods of the contract and their names in Python."""

import re
from functools import cache

from linnet.v1 import training_service_pb2

SERVICE = training_service_pb2.DESCRIPTOR.services_by_name["TrainingService"]


@cache
def snake_case(method: str) -> str:
    """Give the Python name of a method: `CreateRun` → `create_run`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower()
