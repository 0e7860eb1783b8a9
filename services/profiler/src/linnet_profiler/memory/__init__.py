"""RAM: the replay of TFLite Micro's allocator."""
