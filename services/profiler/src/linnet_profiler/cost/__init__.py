"""Instructions and time: which loops of which kernel run how often."""
