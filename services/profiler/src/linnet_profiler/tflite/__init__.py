"""A .tflite file as it is: read without trust, described without judgement."""
