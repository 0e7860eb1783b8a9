"""What runs of one process share: networks that are built, and loops that are traced."""

from collections.abc import Callable
from typing import Any, TypeVar

from linnet_trainer.fit.loop import TrainingLoop
from linnet_trainer.fit.steps import LoopSettings
from linnet_trainer.networks import Network

Kept = TypeVar("Kept")


class SharedLoops:
    """Keeps networks and loops of the last architectures.

    Args:
        most: How many of each.
    """

    def __init__(self, most: int = 16) -> None:
        self._networks: dict[str, Network] = {}
        self._loops: dict[str, TrainingLoop] = {}
        self._most = most

    def known(self, network: Network) -> Network:
        """Give the network that an earlier run built, if it had one of the same key."""
        return _kept(self._networks, network.key, lambda: network, self._most)

    def loop(self, network: Network, model: Any, settings: LoopSettings) -> TrainingLoop:
        """Give the loop of an architecture and its settings, traced before if there was one."""
        fit = settings.fit
        parts = (
            network.key, settings.sequential, settings.weighted,
            settings.augmentation, fit.batch_size, fit.optimizer, fit.momentum, fit.weight_decay,
            fit.label_smoothing,
        )  # fmt: skip
        return _kept(self._loops, repr(parts), lambda: TrainingLoop(model, settings), self._most)


def _kept(kept: dict[str, Kept], key: str, make: Callable[[], Kept], most: int) -> Kept:
    """Give what is kept under a key, made now if there is nothing; the oldest makes room."""
    if key not in kept:
        if len(kept) >= most:
            kept.pop(next(iter(kept)))
        kept[key] = make()
    return kept[key]
