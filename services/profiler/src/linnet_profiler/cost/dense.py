"""What dense layers and matrix products count.

Every term is how often one loop body of the kernel runs, so that the count of instructions is a
sum of terms times what the compiler made of each body. Sources: tensorflow/lite/kernels/internal/
reference/** at tflite-micro 90b983c2 and CMSIS-NN 4ab83cc3, Source/**.
"""

from __future__ import annotations

from linnet_profiler.cost.conv import matrix_terms
from linnet_profiler.cost.counted import Counted, Terms
from linnet_profiler.cost.mve import blocks, mve_matrix
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.tflite.model import Operator, Subgraph


def dense_terms(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted | None:
    """Path and terms of FULLY_CONNECTED."""
    image, weights, output = (
        graph.input(operator, 0),
        graph.input(operator, 1),
        graph.output(operator),
    )
    if image is None or weights is None or output is None or not weights.shape:
        return None
    depth = weights.shape[-1]
    channels = weights.elements // depth if depth else 0
    batches = output.elements // channels if channels else 0
    scaled = "per_channel" if len(weights.scales) > 1 else "per_tensor"
    if image.dtype != "INT8" or not kernels.is_cmsis:
        return Counted(
            scaled if image.dtype == "INT8" else "reference",
            {
                "macs": batches * channels * depth,
                "outputs": batches * channels,
                "batches": batches,
                "calls": 1,
            },
            "DENSE",
        )
    if len(output.shape) > 2 and depth % 4 == 0:
        if kernels is KernelSet.CMSIS_MVE:
            terms = mve_matrix(batches, channels, depth, 1)
            return Counted("matrix", {**terms, "dense_calls": 1}, family="CONV_2D")
        terms = matrix_terms(batches, channels, depth, 1)
        return Counted("1x1", {**terms, "dense_calls": 1}, family="CONV_2D")
    terms = {**vector_terms(channels, depth, batches, kernels), "calls": 1}
    return Counted(scaled, terms, "DENSE")


def vector_terms(channels: int, depth: int, batches: int, kernels: KernelSet) -> Terms:
    """Terms of arm_nn_vec_mat_mult_t_s8: a vector by a matrix, several channels at a time."""
    if kernels is KernelSet.CMSIS_MVE:
        fours, rest = divmod(channels, 4)
        deep = blocks(depth, 16)
        return {
            "four_blocks": batches * fours * deep,
            "four_outputs": batches * fours,
            "rest_blocks": batches * rest * deep,
            "rest_outputs": batches * rest,
            "batches": batches,
        }
    if kernels is KernelSet.CMSIS_C:
        groups, rest = divmod(channels, 3)
        return {
            "group_macs": batches * groups * depth,
            "group_outputs": batches * groups,
            "rest_macs": batches * rest * depth,
            "rest_outputs": batches * rest,
            "batches": batches,
        }
    groups, rest = divmod(channels, 2)
    steps = depth // 4
    # gcc unrolls the loop over blocks of 4 eight times.
    return {
        "group_unrolled": batches * groups * (steps // 8),
        "group_blocks": batches * groups * (steps % 8),
        "group_rest": batches * groups * (depth % 4),
        "group_outputs": batches * groups,
        "group_loops": batches * groups * (steps > 0),
        "group_rest_loops": batches * groups * (depth % 4 > 0),
        "rest_blocks": batches * rest * steps,
        "rest_rest": batches * rest * (depth % 4),
        "rest_outputs": batches * rest,
        "rest_loops": batches * rest * (steps > 0),
        "rest_rest_loops": batches * rest * (depth % 4 > 0),
        "batches": batches,
    }


def product_terms(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    """Path and terms of BATCH_MATMUL."""
    left, right, output = (
        graph.input(operator, 0),
        graph.input(operator, 1),
        graph.output(operator),
    )
    if left is None or right is None or output is None or not left.shape or not right.shape:
        return Counted("product", {"calls": 1})
    adj_x, adj_y = bool(operator.options.get("adj_x")), bool(operator.options.get("adj_y"))
    depth = left.shape[-2] if adj_x and len(left.shape) > 1 else left.shape[-1]
    copied = (left.elements if adj_x else 0) + (0 if adj_y else right.elements)
    columns = output.shape[-1] if output.shape else 1
    rows = output.elements // max(1, columns)
    extra: Terms = {"copied": copied, "product_calls": 1}
    if kernels.is_cmsis and left.dtype == "INT8":
        vectors = vector_terms(columns, depth, rows, kernels)
        macs = output.elements * depth
        return Counted("per_tensor", {**vectors, **extra, "offset_macs": macs}, "DENSE")
    terms: Terms = {
        "macs": output.elements * depth,
        "product_outputs": output.elements,
        "product_rows": rows,
        **extra,
    }
    path = "per_tensor" if left.dtype == "INT8" else "reference"
    return Counted(path, terms, "DENSE")
