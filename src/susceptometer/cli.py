"""The command line. Exit codes: 0 fine, 1 an error in words, 2 wrong usage, 3 a sick chain, 130 interrupted."""

import json
import sys
from collections.abc import Callable

from susceptometer.commands.claims import plan, reproduce
from susceptometer.commands.clusters import cluster, sae
from susceptometer.commands.development import develop
from susceptometer.commands.explorer import explore
from susceptometer.commands.given import Given
from susceptometer.commands.reading import calibrate, components, doctor, quickstart, read
from susceptometer.commands.results import chi, embed, llc, report, spectrum
from susceptometer.errors import SusceptometerError
from susceptometer.view.arguments import parser

SICK, INTERRUPTED = 3, 130

COMMANDS: dict[str, Callable[[Given], dict]] = {
    command.__name__: command
    for command in (
        *(quickstart, components, calibrate, read, llc, chi, spectrum, embed, cluster, sae),
        *(develop, plan, report, explore, doctor, reproduce),
    )
}


def main(words: list[str] | None = None) -> int:
    """Entry of ``susceptometer``."""
    texts = {name: command.__doc__ or "" for name, command in COMMANDS.items()}
    given = parser(texts).parse_args(words)
    try:
        out = COMMANDS[given.command](given)
    except SusceptometerError as error:
        return _failed(given, error)
    except KeyboardInterrupt:
        print("interrupted; finished cells are kept: give the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    if given.json:
        print(json.dumps(out, indent=1, default=str))
    return SICK if out.get("healthy") is False else 0


def _failed(given: Given, error: SusceptometerError) -> int:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    if given.json:
        fields = {key: getattr(error, key) for key in ("what", "where", "value", "why", "do")}
        print(json.dumps({"error": {"kind": type(error).__name__, **fields}}, indent=1, default=str))
    return 1


if __name__ == "__main__":
    sys.exit(main())
