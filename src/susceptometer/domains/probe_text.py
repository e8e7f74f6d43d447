"""Generated probe texts whose structure is known exactly: sums, brackets, repeats, runs of white space."""

from collections.abc import Callable

import numpy as np

from susceptometer.errors import DataError
from susceptometer.rng import stream_seed

CHARACTERS = 900
"""Length of one generated text: enough for a row of 256 tokens of the pico tokenizer."""

OPENING, CLOSING = "([{<", ")]}>"

LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))


def arithmetic(generator: np.random.Generator) -> str:
    """Sums, differences and products of small numbers, all correct: ``17 + 5 = 22``, one a line."""
    lines: list[str] = []
    while sum(map(len, lines)) < CHARACTERS:
        left, right = (int(n) for n in generator.integers(0, 100, size=2))
        sign = "+-*"[int(generator.integers(3))]
        value = {"+": left + right, "-": left - right, "*": left * right}[sign]
        lines.append(f"{left} {sign} {right} = {value}\n")
    return "".join(lines)


def brackets(generator: np.random.Generator) -> str:
    """A balanced word of four kinds of brackets (Dyck language), at most 12 deep."""
    word: list[str] = []
    open_kinds: list[int] = []
    while len(word) < CHARACTERS:
        deeper = generator.random() < 0.5 and len(open_kinds) < 12
        if deeper or not open_kinds:
            open_kinds.append(int(generator.integers(len(OPENING))))
            word.append(OPENING[open_kinds[-1]])
        else:
            word.append(CLOSING[open_kinds.pop()])
    return "".join([*word, *(CLOSING[kind] for kind in reversed(open_kinds))])


def repeats(generator: np.random.Generator) -> str:
    """A passage of invented words, then the same passage again, until the text is long enough."""
    words = [invented_word(generator) for _ in range(int(generator.integers(12, 40)))]
    passage = " ".join(words) + ".\n"
    return passage * (1 + CHARACTERS // len(passage))


def white_space(generator: np.random.Generator) -> str:
    """Lines of invented words with indents and gaps of spaces, tabs and empty lines of every length."""
    parts: list[str] = []
    while sum(map(len, parts)) < CHARACTERS:
        length = int(generator.integers(1, 13))
        parts += [" \t\n"[int(generator.integers(3))] * length, invented_word(generator)]
    return "".join(parts)


def invented_word(generator: np.random.Generator) -> str:
    """Two to eight random letters."""
    return "".join(generator.choice(LETTERS, size=int(generator.integers(2, 9))))


PROBES: dict[str, Callable[[np.random.Generator], str]] = {
    "arithmetic": arithmetic,
    "brackets": brackets,
    "repeats": repeats,
    "white space": white_space,
}
"""The generated probes by name."""


def generated_probe(name: str, *, seed: int, rows: int) -> list[str]:
    """Texts of one generated probe, each of at least `CHARACTERS` characters.

    Args:
        name: ``arithmetic``, ``brackets``, ``repeats`` or ``white space`` (``white_space`` is understood).
        seed: Fixes the texts; text i is the same whatever ``rows`` is.
        rows: How many texts.

    Raises:
        DataError: No generated probe has this name.
    """
    key = name.replace("_", " ")
    if key not in PROBES:
        raise DataError(
            "no generated probe has this name",
            where="generated_probe",
            value=name,
            why="only these are generated: " + ", ".join(PROBES),
            do="give one of them, or your own text",
        )
    streams = (np.random.default_rng(stream_seed(seed, "probe", key, row)) for row in range(rows))
    return [PROBES[key](generator) for generator in streams]
