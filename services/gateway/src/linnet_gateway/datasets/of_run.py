"""The dataset that a run was made for, and no other that has its name by now."""

from datetime import timedelta

from linnet_runtime.errors import NotFound

from linnet_gateway.ports import Datasets, Runs
from linnet_gateway.records import DatasetRecord, RunRecord

_CLOCKS_APART = timedelta(minutes=1)
"""Two replicas may have written when dataset and run were made."""


async def dataset_of(run: RunRecord, datasets: Datasets, runs: Runs) -> DatasetRecord:
    """Read the dataset of a run.

    Raises:
        NotFound: It was deleted, whether or not another of its name was made since.
    """
    dataset = await datasets.get(run.project, run.dataset)
    # A run that is tried again uses what the first of its kind used.
    first = run
    while first.retry_of:
        try:
            first = await runs.get_uid(first.retry_of)
        except NotFound:
            break
    if dataset.create_time > first.create_time + _CLOCKS_APART:
        made = f"{first.create_time:%Y-%m-%d %H:%M:%S}"
        raise NotFound("dataset", f"{dataset.name} as it was at {made} UTC")
    return dataset
