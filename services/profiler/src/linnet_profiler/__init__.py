"""RAM, flash and latency of a .tflite file on a microcontroller, from the file alone."""
