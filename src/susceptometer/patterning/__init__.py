"""Turning it round: from a wanted change inside the network to weights on its training data."""
