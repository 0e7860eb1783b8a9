"""What a run takes over from the one whose weights it starts from."""

from linnet.v1 import spec_pb2

from linnet_gateway.records import RunRecord

_NAMED = {spec_pb2.SPLIT_METHOD_EXPLICIT, spec_pb2.SPLIT_METHOD_MARKED}
"""Splits that no seed decides."""
_FOLDS = {spec_pb2.SPLIT_METHOD_K_FOLD, spec_pb2.SPLIT_METHOD_LEAVE_ONE_GROUP_OUT}


def leak_from(source: RunRecord, run: RunRecord) -> str | None:
    """Warn where a run validates on rows that its first weights were trained on.

    Args:
        source: The run whose weights they are.
        run: The run that starts from them.

    Returns:
        What to tell; None where the same rows are held out, or the data are others.
    """
    if source.dataset != run.dataset:
        return None
    before = spec_pb2.TrainingSpec.FromString(source.spec)
    now = spec_pb2.TrainingSpec.FromString(run.spec)
    if now.split.no_validation:
        return None
    seeded = now.split.method not in _NAMED
    same = before.split == now.split and (not seeded or before.fit.seed == now.fit.seed)
    if same and now.split.method not in _FOLDS:
        return None
    return (
        f"The first weights are those of {source.name}, which held out other rows of the same "
        "dataset: rows that validate here were trained on there, and scores may be too good. Use "
        "its seed and split, or mark validation rows in the dataset."
    )
