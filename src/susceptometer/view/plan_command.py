"""The command ``plan``: a reading and options in, words, numbers, a file of weights and a page out."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from susceptometer.patterning.limits import Limits
from susceptometer.patterning.words import file_weights, plan_in_words
from susceptometer.sampling.reading import Reading
from susceptometer.view.plan_page import plan_page, write_plan_page


def answer(reading: Reading, asked: Namespace, strings: Sequence[str] | None) -> tuple[str, dict[str, object]]:
    """What ``susceptometer plan`` says, and the same as plain values; writes weights and page where named.

    Args:
        reading: Chains.
        asked: ``target per strength bounds budget examples page out``, as the command's options.
        strings: Of every token id, to show tokens; None shows ids.

    Raises:
        DataError: As `plan_in_words`.
    """
    limits = None
    if asked.bounds or asked.budget is not None:
        limits = Limits(**dict(zip(("lowest", "highest"), asked.bounds or (), strict=False)), budget=asked.budget)
    made = plan_in_words(reading, asked.target, per=asked.per, limits=limits)
    told = [repr(made)]
    if asked.examples:
        known = strings if asked.per == "token" else None
        told.append(made.extremes(asked.examples, strings=known).to_string(index=False))
    if asked.page:
        write_plan_page(Path(asked.page), plan_page(made, strings=strings))
        told.append(f"page: {asked.page}")
    if asked.out:
        file_weights(made, asked.per, asked.strength).save(asked.out)
        told.append(f"weights: {asked.out}")
    rows = made.predicted(asked.strength).data.to_dataframe().reset_index().to_dict("records")
    agreed = made.agreement.tolist()
    out = {"predicted": rows, "strength": asked.strength, "agreement": agreed, "out": asked.out, "page": asked.page}
    return "\n".join(told), out
