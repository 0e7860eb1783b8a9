"""The values of a features.npy file in memory."""

import io
from typing import Any

import numpy as np
from linnet_ml import npy
from linnet_runtime.errors import InvalidInput
from numpy.typing import NDArray

_HEADER_BYTES = 16_384


def features_view(file: memoryview) -> NDArray[Any]:
    """View a .npy file's values without copying them, shape (rows, *input_shape)."""
    head = io.BytesIO(bytes(file[:_HEADER_BYTES]))
    header = npy.read_header(head, "features.npy")
    values = file[head.tell() :]
    if values.nbytes != header.data_bytes:
        raise InvalidInput.of(
            "features.npy", f"expected {header.data_bytes} bytes of values, got {values.nbytes}"
        )
    return np.frombuffer(values, header.dtype).reshape(header.shape)
