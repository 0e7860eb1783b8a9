"""Names of an attempt's files, as the object layout has them."""

KERAS = "model.keras"
FLOAT32 = "model.float32.tflite"
INT8 = "model.int8.tflite"
HEADER = "model.h"
SPLIT = "split.npz"
HISTORY = "history.json"
OUT_OF_FOLD = "out_of_fold.npz"
BUNDLE = "bundle.zip"
MANIFEST = "manifest.json"
CHECKPOINT = "checkpoint/state.npz"

LAYERS = "layers.json"
WEIGHTS = "weights.npz"
CALIBRATION = "calibration.npy"
SCRIPT = "script.py"
LAST_WORDS = "last_words.txt"
"""These five pass between trainer and export child and are not artifacts."""

ARTIFACTS = (KERAS, FLOAT32, INT8, HEADER, SPLIT, HISTORY, OUT_OF_FOLD, BUNDLE, MANIFEST)
"""In the order in which they are put: the manifest, whose digests are the commit, last."""
