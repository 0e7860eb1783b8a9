"""How TensorFlow computes: decided from the spec and the data alone, and written down.

Bits change with threads, oneDNN and XLA, so none of them may follow from the machine, from a
run's place in a shard or from what is left of it after an interruption.
"""

import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from linnet_ml.spec import LayerKind, LayerList, Optimizer

_SIMPLE_KINDS = {LayerKind.DENSE, LayerKind.FLATTEN, LayerKind.RESHAPE, LayerKind.ACTIVATION}


@dataclass(frozen=True, slots=True)
class Engine:
    """How a run is computed.

    Attributes:
        threads: Threads inside and between operations; one is fastest for networks this small.
        onednn: Whether oneDNN's kernels are used.
        xla: Whether the loop is compiled by XLA. Never: it takes a second and 100 MB, draws other
            dropout than Keras, slows convolutions down, and saves a tenth of long dense runs.
        sequential: Whether operations run in a fixed order, without a scheduler: a third faster
            where each is small. Products of three are rounded in another order than Keras' then,
            so it is for dense networks without dropout under Adam only.
    """

    threads: int
    onednn: bool
    xla: bool
    sequential: bool

    def to_dict(self) -> dict[str, Any]:
        """Give what a manifest stores."""
        return asdict(self)


THREADS = 1


def choose(layers: LayerList | None, optimizer: Optimizer) -> Engine:
    """Choose how to compute a run; None stands for an expert script."""
    kinds = {layer.kind for layer in layers.layers} if layers is not None else None
    simple = kinds is not None and kinds <= _SIMPLE_KINDS
    sequential = simple and optimizer is Optimizer.ADAM
    return Engine(THREADS, onednn=True, xla=False, sequential=sequential)


def prepare_environment() -> None:
    """Set what libraries read when they start: quiet logs, oneDNN, no GPU, no gRPC in forks."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    # Forked children close gRPC's files and never use it; its fork handlers would abort on them.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"


def set_threads() -> None:
    """Set TensorFlow's threads; must come before its first operation."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    tf.get_logger().setLevel("ERROR")


def first_operation() -> None:
    """Make TensorFlow set its devices up."""
    import tensorflow as tf

    tf.constant(0)


@cache
def versions() -> dict[str, str]:
    """Give the versions that a run's bits depend on."""
    packages = ("linnet-trainer", "tensorflow-cpu", "keras", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


@cache
def cpu_type() -> str:
    """Name the CPU type; bits are equal on the same type."""
    wanted = {"model name": "", "flags": ""}
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:  # noqa: PTH123 - a device
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() in wanted and not wanted[key.strip()]:
                    wanted[key.strip()] = value.strip()
    except OSError:
        return platform.machine()
    kinds = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
    flags = [flag for flag in kinds if flag in wanted["flags"].split()]
    return " ".join([platform.machine(), wanted["model name"], *flags])
