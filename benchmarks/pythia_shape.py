"""Pythia-14M's shape as keywords of GPTNeoXConfig: what the benchmarks with random weights are made from."""

SHAPE = {
    "hidden_size": 128,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "vocab_size": 50304,
}
