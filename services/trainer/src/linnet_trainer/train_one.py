"""Trains one run with what a process has: a layer list here, an expert script in a child."""

from pathlib import Path

from linnet_ml.defaults import layers_of

from linnet_trainer.networks import LayerNetwork
from linnet_trainer.run_contract import Outcome, RunEvents, RunOrder
from linnet_trainer.scripts.run import train_script
from linnet_trainer.startup import Workshop


def train_one(shop: Workshop, order: RunOrder, events: RunEvents, folder: Path) -> Outcome:
    """Train an order into a folder.

    Raises:
        LinnetError: The run failed.
    """
    data = order.data
    layers = layers_of(order.spec.architecture, data.input_kind, data.input_shape)
    if layers is None:
        return train_script(shop.children, order, events, folder)
    network = shop.trainer.shared.known(
        LayerNetwork(layers, data.input_shape, len(data.classes), shop.children)
    )
    return shop.trainer.train(order, network, events, folder)
