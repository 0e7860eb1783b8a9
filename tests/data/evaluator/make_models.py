"""Makes the small .tflite files of the evaluator's tests; needs the trainer's TensorFlow.

    python tests/data/evaluator/make_models.py FOLDER

Each is trained for seconds on made data (seeded), frozen with the batch fixed to 1, and written as
NAME.float32.tflite and NAME.int8.tflite; the rows of the dense one are dense.npz.
"""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

CLASSES = 7


def _net(name: str) -> keras.Model:
    layers = keras.layers
    body = {
        "dense": [
            layers.Input((33,)),
            layers.Dense(20, activation="relu"),
            layers.Dense(10, activation="relu"),
        ],
        "conv1d": [
            layers.Input((650,)),
            layers.Reshape((50, 13)),
            layers.Conv1D(8, 3, padding="same", activation="relu"),
            layers.MaxPooling1D(2, padding="same"),
            layers.Conv1D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling1D(2, padding="same"),
            layers.Flatten(),
        ],
        "conv2d": [
            layers.Input((650,)),
            layers.Reshape((50, 13, 1)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2, padding="same"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2, padding="same"),
            layers.Flatten(),
        ],
    }[name]
    return keras.Sequential([*body, layers.Dense(CLASSES, activation="softmax")])


def _data(columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(7)
    labels = random.integers(0, CLASSES, rows)
    centres = random.normal(size=(CLASSES, columns)) * (6 / columns**0.5)
    return (centres[labels] + random.normal(size=(rows, columns))).astype(np.float32), labels


def _convert(net: keras.Model, features: np.ndarray, *, int8: bool) -> bytes:
    shape = tf.TensorSpec((1, features.shape[1]), tf.float32)
    traced = tf.function(lambda x: net(x, training=False)).get_concrete_function(shape)
    frozen = convert_variables_to_constants_v2(traced)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([row[None]] for row in features[:200])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def main() -> None:
    out = Path(sys.argv[1])
    for name, columns in (("dense", 33), ("conv1d", 650), ("conv2d", 650)):
        keras.utils.set_random_seed(3)
        features, labels = _data(columns, 600)
        net = _net(name)
        net.compile("adam", "sparse_categorical_crossentropy")
        net.fit(features, labels, epochs=6, verbose=0)
        for variant in ("float32", "int8"):
            model = _convert(net, features, int8=variant == "int8")
            (out / f"{name}.{variant}.tflite").write_bytes(model)
        if name == "dense":
            np.savez_compressed(out / f"{name}.npz", features=features, labels=labels)


if __name__ == "__main__":
    main()
