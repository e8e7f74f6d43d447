"""What the numbers mean: patterns of tokens, response matrices, spectra, clusters."""
