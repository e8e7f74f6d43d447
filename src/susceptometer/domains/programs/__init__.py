"""Programs as singularities: Turing machines as points of a space of noisy machines, learning coefficients exact."""
