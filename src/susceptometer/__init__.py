"""susceptometer: read the structure of a neural network from how it answers small changes of its data."""
