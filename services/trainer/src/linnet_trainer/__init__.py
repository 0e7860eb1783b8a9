"""Spec to Keras model to float32 and int8 .tflite; the only member that knows TensorFlow."""
