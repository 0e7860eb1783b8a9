"""Short names and full ones: `run-3f9a` or `projects/default/runs/run-3f9a`."""

from linnet.v1 import run_pb2, training_service_pb2
from linnet_runtime.ids import parse_name

TERMINAL_STATES = frozenset(
    {run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_FAILED, run_pb2.RUN_STATE_CANCELLED}
)


def full_name(project: str, collection: str, text: str, *, field: str) -> str:
    """Give the full name of a resource that is named in full or by its id alone.

    Raises:
        InvalidInput: It is neither; names `field`.
    """
    name = text if "/" in text else f"projects/{project}/{collection}/{text}"
    return str(parse_name(name, collection, field=field))


def short_name(name: str) -> str:
    """Give the id, the last part of a name."""
    return name.rsplit("/", 1)[-1]


def is_terminal(run: run_pb2.Run) -> bool:
    """Say whether a run is over for good."""
    return run.state in TERMINAL_STATES


def state_word(run: run_pb2.Run) -> str:
    """Give the state as a person reads it, such as `SUCCEEDED`."""
    return run_pb2.RunState.Name(run.state).removeprefix("RUN_STATE_")


def tells_end_of_run(response: training_service_pb2.WatchRunResponse) -> bool:
    """Say whether a response tells that the run is over."""
    return response.HasField("run") and is_terminal(response.run)
