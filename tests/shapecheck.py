"""The run-time type and shape checker: `make shapes` runs the suite with every signature checked."""

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

checker = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""beartype that takes an int where a float is asked for, as Python does."""


def install() -> None:
    """Check every signature of the package from its next import on."""
    install_import_hook("susceptometer", "shapecheck.checker")
