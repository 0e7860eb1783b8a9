"""Datasets, specs, layer lists and quantization maths; numpy only, no TensorFlow."""
