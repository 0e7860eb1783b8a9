"""From trained weights to the files of a device."""
