"""Runs that train earlier ones again, and are compared with them."""

from linnet.v1 import run_pb2


def again(before: run_pb2.Run, *, dataset: str = "", from_weights: bool = False) -> run_pb2.Run:
    """Make a run that retrains an earlier one.

    Args:
        before: The earlier run, as the gateway tells of it.
        dataset: Name of the data to train on; the earlier run's when empty.
        from_weights: Whether to start from the earlier run's weights instead of fresh ones.

    Returns:
        A run to create, with the same spec, title and labels, that names its predecessor.
    """
    run = run_pb2.Run(
        display_name=before.display_name,
        labels=before.labels,
        spec=before.spec,
        predecessor=before.name,
    )
    run.spec.init_from = before.name if from_weights else ""
    if dataset:
        run.spec.dataset = dataset
    return run
