"""The small byte-level tokenizer of the bundled models: training, loading, white space kept countable.

Words are merged by byte-pair encoding as in GPT-2, with one difference: every space, newline and
tab of a run is a token of its own. (Only the last space before a word belongs to the word, ``"
the"``.) A run of k white-space characters is therefore a sequence of k, or k - 1, single tokens
that a model can count, as in the published TinyStories cut of the GPT-2 vocabulary; counting them
is one of the published findings.
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from susceptometer.errors import DataError

BOS = "<|bos|>"
BOS_ID = 0
# GPT-2's word pattern; its two white-space branches are replaced by one that matches a single character.
PATTERN = r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s"


def untrained_tokenizer() -> Tokenizer:
    """A byte-level BPE tokenizer without merges: each white-space character is split off on its own."""
    tokenizer = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def trained_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Byte-pair merges learned from ``texts``; token 0 is the beginning-of-text token.

    Args:
        texts: Documents, read once, in order; the result is a function of them alone.
        vocabulary: Number of tokens, at least 257 (256 bytes and BOS).

    Raises:
        DataError: ``vocabulary`` is too small to hold every byte.
    """
    if vocabulary < 257:
        raise DataError(
            what="the vocabulary is too small",
            where="trained_tokenizer(vocabulary=...)",
            value=vocabulary,
            why="256 bytes and one beginning-of-text token must fit, or some text could not be encoded",
            do="ask for at least 257 tokens",
        )
    tokenizer = untrained_tokenizer()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[BOS], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer stored at ``path`` (the JSON of the ``tokenizers`` library).

    Raises:
        DataError: The file is missing or is no tokenizer.
    """
    try:
        return Tokenizer.from_str(Path(path).read_text(encoding="utf-8"))
    except Exception as error:  # the library raises bare Exception for malformed JSON
        raise DataError(
            what=f"the tokenizer cannot be read ({error})",
            where="load_tokenizer",
            value=str(path),
            why="text cannot become tokens without it",
            do="give the path of a tokenizer.json written by the tokenizers library",
        ) from error
