"""One TensorFlow for all tests of the trainer: imported, forked and set up once, when asked for."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def shop() -> Iterator[object]:
    """What a trainer's process trains with."""
    from linnet_trainer.startup import workshop

    with workshop() as made:
        yield made
