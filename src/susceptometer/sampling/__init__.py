"""How it is sampled: samplers, couplings, minibatches, moments and the one loop."""
