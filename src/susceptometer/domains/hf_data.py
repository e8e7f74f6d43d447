"""Rows of tokens for a language model: read, checked, and refused with the place of the fault."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from susceptometer.errors import DataError

TokenSource = Tensor | np.ndarray | str | Path
"""Integer rows ``[rows, K]``, or the path of an ``.npy`` file that holds them."""


def token_rows(source: TokenSource, vocabulary: int, context: int | None = None, *, where: str = "tokens") -> Tensor:
    """Checked rows of tokens, int64 ``[rows, K]`` with K >= 2.

    Args:
        source: Tensor, array or path of an ``.npy`` file.
        vocabulary: Number of token ids the model knows.
        context: Longest row the model takes (inputs; the row may hold one target more); None: no limit.
        where: Name used in messages.

    Raises:
        DataError: Missing or unreadable file, wrong shape or type, a row too long, or a token outside the
            vocabulary (with its position and value).
    """
    tokens = _read(source) if isinstance(source, str | Path) else torch.as_tensor(source)
    _check_shape(tokens, where)
    tokens = tokens.long()
    outside = (tokens < 0) | (tokens >= vocabulary)
    if bool(outside.any()):
        row, position = outside.nonzero()[0].tolist()
        raise DataError(
            "a token is outside the vocabulary",
            where=f"{where}[{row}, {position}]",
            value=int(tokens[row, position]),
            why=f"the model knows the tokens 0 to {vocabulary - 1}",
            do="use the tokenizer that belongs to the model",
        )
    if context is not None and tokens.shape[1] - 1 > context:
        raise DataError(
            "rows are longer than the model's context",
            where=where,
            value=tokens.shape[1],
            why=f"the model reads at most {context} tokens and one target",
            do=f"cut the rows to {context + 1} tokens",
        )
    return tokens


def check_vocabulary(tokenizer_size: int, vocabulary: int) -> None:
    """Refuse a tokenizer that can emit ids the model has no embedding for.

    Raises:
        DataError: ``tokenizer_size > vocabulary``.
    """
    if tokenizer_size > vocabulary:
        raise DataError(
            "the tokenizer does not belong to the model",
            where="vocabulary",
            value=f"tokenizer {tokenizer_size}, model {vocabulary}",
            why="some of its tokens have no embedding",
            do="pass the tokenizer saved with the model",
        )


def _read(path: str | Path) -> Tensor:
    place = Path(path)
    if not place.is_file():
        raise DataError("there is no such token file", where="tokens", value=str(path), do="check the path")
    try:
        return torch.as_tensor(np.load(place, allow_pickle=False))
    except (ValueError, OSError, EOFError, TypeError) as error:
        raise DataError(
            "a token file cannot be read",
            where=str(path),
            why=str(error),
            do="save an integer array [rows, K] with numpy.save",
        ) from error


def _check_shape(tokens: Tensor, where: str) -> None:
    integer = not tokens.is_floating_point() and tokens.dtype != torch.bool
    if tokens.ndim != 2 or not integer or tokens.shape[0] < 1 or tokens.shape[1] < 2:
        raise DataError(
            "tokens have the wrong shape or type",
            where=where,
            value=f"{tokens.dtype} {tuple(tokens.shape)}",
            why="a row needs at least one input and one target",
            do="pass integers of shape [rows, K] with K >= 2",
        )


def token_texts(tokenizer: Any) -> list[str]:
    """What each token id adds to a text, ``[vocabulary]``.

    A SentencePiece tokenizer drops the space before a token that it decodes alone, so word start and word part would
    look the same. Tokens are therefore decoded behind a letter, which is then cut off.
    """

    def decode(*ids: int) -> str:
        return tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)

    count = len(tokenizer)
    anchor = next((i for i in range(count) if decode(i).isalpha() and decode(i, i) == 2 * decode(i)), None)
    if anchor is None:
        return [decode(i) for i in range(count)]
    letters = decode(anchor)
    return [decode(anchor, i).removeprefix(letters) for i in range(count)]
