"""What the TFLite schema calls things: operators, element types, option fields.

Source: tensorflow/lite/schema/schema.fbs (version 3) as generated into the tflite-micro wheel.
"""

from __future__ import annotations

from typing import Final

SCHEMA_VERSION: Final = 3
CUSTOM: Final = 32

# Index = value of BuiltinOperator.
OPERATOR_NAMES: Final[tuple[str, ...]] = tuple(
    """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
    EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
    LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1
    RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS
    SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER
    BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE
    UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT
    LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG
    PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE
    EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD
    REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV
    REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU
    SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE
    RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
    NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM
    BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D
    IMAG REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL
    CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS
    RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE
    RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2
    UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD
    STABLEHLO_DIVIDE STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP
    STABLEHLO_CONCATENATE STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE
    STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE
    STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_MINIMUM STABLEHLO_NEGATE
    STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER STABLEHLO_RSQRT STABLEHLO_SELECT
    STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT
    STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA
    STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE
    STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW
    STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT STABLEHLO_CASE
    """.split()  # noqa: SIM905 - one name an entry in 60 lines would not read better
)

# Value of TensorType -> (name, bits an element takes).
TENSOR_TYPES: Final[dict[int, tuple[str, int]]] = {
    0: ("FLOAT32", 32),
    1: ("FLOAT16", 16),
    2: ("INT32", 32),
    3: ("UINT8", 8),
    4: ("INT64", 64),
    5: ("STRING", 0),
    6: ("BOOL", 8),
    7: ("INT16", 16),
    8: ("COMPLEX64", 64),
    9: ("INT8", 8),
    10: ("FLOAT64", 64),
    11: ("COMPLEX128", 128),
    12: ("UINT64", 64),
    13: ("RESOURCE", 32),
    14: ("VARIANT", 0),
    15: ("UINT32", 32),
    16: ("UINT16", 16),
    17: ("INT4", 4),
    18: ("BFLOAT16", 16),
    19: ("INT2", 2),
    20: ("UINT4", 4),
    21: ("FLOAT8_E4M3FN", 8),
    22: ("FLOAT8_E5M2", 8),
}

ACTIVATIONS: Final = ("none", "relu", "relu_n1_to_1", "relu6", "tanh", "sign_bit")
PADDINGS: Final = ("same", "valid")

Fields = tuple[tuple[str, int, str, float], ...]
_PADDING_AND_STRIDES: Final[Fields] = (
    ("padding", 0, "i8", 0),
    ("stride_w", 1, "i32", 0),
    ("stride_h", 2, "i32", 0),
)
_ACTIVATION: Final[Fields] = (("activation", 0, "i8", 0),)
_SPLITS: Final[Fields] = (("num_splits", 0, "i32", 0),)
_BLOCK: Final[Fields] = (("block_size", 0, "i32", 0),)
_REDUCER: Final = (27, (("keep_dims", 0, "bool", False),))
_POOL: Final = (
    5,
    (
        *_PADDING_AND_STRIDES,
        ("window_w", 3, "i32", 0),
        ("window_h", 4, "i32", 0),
        ("activation", 5, "i8", 0),
    ),
)
# Operator -> (BuiltinOptions union value, fields as (name, field id, kind, default)).
OPTION_FIELDS: Final[dict[str, tuple[int, Fields]]] = {
    "CONV_2D": (
        1,
        (
            *_PADDING_AND_STRIDES,
            ("activation", 3, "i8", 0),
            ("dilation_w", 4, "i32", 1),
            ("dilation_h", 5, "i32", 1),
        ),
    ),
    "DEPTHWISE_CONV_2D": (
        2,
        (
            *_PADDING_AND_STRIDES,
            ("depth_multiplier", 3, "i32", 0),
            ("activation", 4, "i8", 0),
            ("dilation_w", 5, "i32", 1),
            ("dilation_h", 6, "i32", 1),
        ),
    ),
    "AVERAGE_POOL_2D": _POOL,
    "MAX_POOL_2D": _POOL,
    "L2_POOL_2D": _POOL,
    "SVDF": (6, (("rank", 0, "i32", 0), ("activation", 1, "i8", 0))),
    "FULLY_CONNECTED": (
        8,
        (("activation", 0, "i8", 0), ("keep_num_dims", 2, "bool", False)),
    ),
    "SOFTMAX": (9, (("beta", 0, "f32", 0.0),)),
    "CONCATENATION": (10, (("axis", 0, "i32", 0), ("activation", 1, "i8", 0))),
    "ADD": (11, _ACTIVATION),
    "L2_NORMALIZATION": (12, _ACTIVATION),
    "RESIZE_BILINEAR": (
        15,
        (("align_corners", 2, "bool", False), ("half_pixel_centers", 3, "bool", False)),
    ),
    "SPACE_TO_DEPTH": (19, _BLOCK),
    "MUL": (21, _ACTIVATION),
    "GATHER": (23, (("axis", 0, "i32", 0), ("batch_dims", 1, "i32", 0))),
    "MEAN": _REDUCER,
    "SUM": _REDUCER,
    "REDUCE_MAX": _REDUCER,
    "REDUCE_MIN": _REDUCER,
    "REDUCE_ALL": _REDUCER,
    "REDUCE_ANY": _REDUCER,
    "REDUCE_PROD": _REDUCER,
    "SUB": (28, _ACTIVATION),
    "DIV": (29, _ACTIVATION),
    "STRIDED_SLICE": (
        32,
        (
            ("begin_mask", 0, "i32", 0),
            ("end_mask", 1, "i32", 0),
            ("ellipsis_mask", 2, "i32", 0),
            ("new_axis_mask", 3, "i32", 0),
            ("shrink_axis_mask", 4, "i32", 0),
        ),
    ),
    "SPLIT": (35, _SPLITS),
    "SPLIT_V": (79, _SPLITS),
    "CAST": (37, (("in_type", 0, "i8", 0), ("out_type", 1, "i8", 0))),
    "TRANSPOSE_CONV": (49, (*_PADDING_AND_STRIDES, ("activation", 3, "i8", 0))),
    "PACK": (59, (("values_count", 0, "i32", 0), ("axis", 1, "i32", 0))),
    "UNPACK": (64, (("num", 0, "i32", 0), ("axis", 1, "i32", 0))),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (
        71,
        (
            ("activation", 0, "i8", 0),
            ("cell_clip", 1, "f32", 0.0),
            ("proj_clip", 2, "f32", 0.0),
            ("time_major", 3, "bool", False),
        ),
    ),
    "RESIZE_NEAREST_NEIGHBOR": (
        74,
        (("align_corners", 0, "bool", False), ("half_pixel_centers", 1, "bool", False)),
    ),
    "LEAKY_RELU": (75, (("alpha", 0, "f32", 0.0),)),
    "MIRROR_PAD": (77, (("mode", 0, "i8", 0),)),
    "IF": (92, (("then_subgraph", 0, "i32", 0), ("else_subgraph", 1, "i32", 0))),
    "WHILE": (93, (("cond_subgraph", 0, "i32", 0), ("body_subgraph", 1, "i32", 0))),
    "CALL_ONCE": (103, (("init_subgraph", 0, "i32", 0),)),
    "DEPTH_TO_SPACE": (94, _BLOCK),
    "BATCH_MATMUL": (101, (("adj_x", 0, "bool", False), ("adj_y", 1, "bool", False))),
    "CUMSUM": (102, (("exclusive", 0, "bool", False), ("reverse", 1, "bool", False))),
    "VAR_HANDLE": (111, (("container", 0, "text", 0), ("shared_name", 1, "text", 0))),
    "GELU": (116, (("approximate", 0, "bool", False),)),
}
