"""A model before its training: what the converter will make of a layer list."""
