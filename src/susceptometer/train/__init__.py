"""One resumable training loop with example and token weights."""
