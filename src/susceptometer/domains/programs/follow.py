"""Compiled walk through the runs of a partly written table that make a given number of errors."""

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray[Any, Any]
Setting = tuple[tuple[int, int, int], Array, int]
"""Sizes of the squares' alphabets (symbols, states, moves), which kinds are noisy ``[3]``, number of steps."""

Found = tuple[Array, Array, Array]
"""Errors known to be linear (flags), packed types, and how many of these there are ``[1]``; filled on the way."""

SYMBOL, STATE, MOVE = 0, 1, 2
"""Kinds of squares, in the order of ``machine.KINDS``; moves are numbered as in ``machine.MOVES``."""

OPEN = -1
"""Value of an unwritten square."""

MOST_ERRORS = 4
BITS = 10
"""A type is packed into one integer: MOST_ERRORS variable numbers, each plus one, of BITS bits, sorted."""

SHIFTS = np.asarray([0, -1, 1])


@njit(cache=True)
def follow(
    table: Array, tapes: Array, wrong: Array, setting: Setting, weight: int, packed: Array
) -> tuple[bool, int, int, int]:
    """Follow all runs with up to ``weight`` errors; errors already known to be linear are not made again.

    Returns:
        Whether all completed noiseless runs answer correctly, how many types lie in ``packed``, how many of them
        are linear, and the missing square as ``3 tuple + kind`` (-1: none).
    """
    sizes = setting[0]
    linear = np.zeros(len(table) * (sizes[0] + sizes[1] + sizes[2]), dtype=np.bool_)
    ready = np.zeros(len(tapes), dtype=np.bool_)
    found = (linear, packed, np.zeros(1, dtype=np.int64))
    missing, singles = -1, 0
    for row in range(len(tapes)):
        lacks = follow_word(table, tapes[row], wrong[row], setting, 0, found)
        if found[2][0] > 0:
            return False, 0, 0, -1
        ready[row] = lacks < 0
        missing = lacks if missing < 0 else missing
    open_noiseless = missing >= 0
    for errors in range(1, weight + 1):
        for row in range(len(tapes)):
            if ready[row]:
                lacks = follow_word(table, tapes[row], wrong[row], setting, errors, found)
                missing = lacks if missing < 0 else missing
        if errors == 1:
            singles = distinct(packed, found[2][0])
            found[2][0] = singles
            for k in range(singles):
                linear[packed[k] - 1] = True
        if missing >= 0 or open_noiseless or found[2][0] >= len(packed) // 2:
            break
    return True, found[2][0], singles, missing


@njit(cache=True)
def distinct(packed: Array, count: int) -> int:
    """Drop repetitions among the first ``count`` numbers; returns how many are left."""
    kept = 0
    for k in range(count):
        fresh = True
        for j in range(kept):
            fresh = fresh and packed[j] != packed[k]
        if fresh:
            packed[kept] = packed[k]
            kept += 1
    return kept


@njit(cache=True)
def follow_word(  # noqa: C901 - three nested choices, compiled
    table: Array, tape: Array, wrong: Array, setting: Setting, errors: int, found: Found
) -> int:
    """Append the types of all runs on one word that make exactly ``errors`` errors and end wrong.

    Runs wait on a stack as (state, head, steps to go, errors to go, packed type) with their tapes. A square written
    by a tuple whose symbol is open holds ``-1 - tuple``.

    Returns:
        The first missing square as ``3 tuple + kind`` (-1: none).
    """
    sizes, flags, steps = setting
    linear, packed, count = found
    states, width = sizes[1], sizes[0] + sizes[1] + sizes[2]
    frames = np.empty((512, 5), dtype=np.int64)
    tapes = np.empty((512, len(tape)), dtype=np.int64)
    frames[0] = (0, steps, steps, errors, 0)
    tapes[0] = tape
    top, missing = 1, -1
    while top > 0:
        top -= 1
        state, head, left, spare, used = frames[top]
        if left == 0:
            if spare == 0 and wrong[state] and count[0] < len(packed):
                packed[count[0]] = used
                count[0] += 1
            continue
        here = tapes[top].copy()
        lacks = lacking(table, here[head], state, states, left)
        if lacks >= 0:
            missing = lacks if missing < 0 else missing
            continue
        place = here[head] * states + state
        symbol = table[place, SYMBOL] if table[place, SYMBOL] >= 0 else -1 - place
        move = table[place, MOVE] if left > 1 else 0
        for a in range(-1, sizes[0] if flags[SYMBOL] and symbol >= 0 and left > 1 and spare > 0 else 0):
            first = place * width + a
            if a >= 0 and (a == symbol or linear[first]):
                continue
            for b in range(-1, sizes[1] if flags[STATE] and spare > (a >= 0) else 0):
                second = place * width + sizes[0] + b
                if b >= 0 and (b == table[place, STATE] or linear[second]):
                    continue
                for c in range(-1, sizes[2] if flags[MOVE] and left > 1 and spare > (a >= 0) + (b >= 0) else 0):
                    third = place * width + sizes[0] + sizes[1] + c
                    if c >= 0 and (c == move or linear[third]):
                        continue
                    kind = used
                    kind = inserted(kind, first) if a >= 0 else kind
                    kind = inserted(kind, second) if b >= 0 else kind
                    kind = inserted(kind, third) if c >= 0 else kind
                    tapes[top] = here
                    tapes[top, head] = a if a >= 0 else symbol
                    after = b if b >= 0 else table[place, STATE]
                    ahead = head + SHIFTS[c if c >= 0 else move]
                    frames[top] = (after, ahead, left - 1, spare - (a >= 0) - (b >= 0) - (c >= 0), kind)
                    top += 1
    return missing


@njit(cache=True)
def lacking(table: Array, scanned: int, state: int, states: int, left: int) -> int:
    """The open square that a read needs, as ``3 tuple + kind``, or -1."""
    if scanned < 0:
        return 3 * (-1 - scanned) + SYMBOL
    place = scanned * states + state
    if table[place, STATE] < 0:
        return 3 * place + STATE
    if left > 1 and table[place, MOVE] < 0:
        return 3 * place + MOVE
    return -1


@njit(cache=True)
def inserted(code: int, variable: int) -> int:
    """The packed type times one more variable, kept sorted (largest in the lowest bits)."""
    mask = (1 << BITS) - 1
    new, shift, item = 0, 0, variable + 1
    while item > 0:
        part = (code >> shift) & mask
        high, low = max(part, item), min(part, item)
        new |= high << shift
        item = low
        shift += BITS
    return new
