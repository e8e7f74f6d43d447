"""Which components and probes a reading is asked for."""

from collections.abc import Mapping, Sequence

from susceptometer.errors import ComponentError, DataError
from susceptometer.posterior.component import Component, whole_component
from susceptometer.posterior.component_set import ComponentSet
from susceptometer.posterior.subject import Subject
from susceptometer.types import Batch

Selection = Mapping[str, Component] | Sequence[str] | str
"""Components as a mapping, or as names, short names and globs that the subject understands."""

FULL = "full"
"""Name of the run in which all weights move."""


def chosen_components(subject: Subject, chosen: Selection, *, full: bool) -> dict[str, Component]:
    """Components by name, in order; with ``full``, all weights together as the last one.

    Raises:
        ComponentError: A name is unknown, or nothing is chosen.
    """
    if isinstance(chosen, Mapping):
        parts = dict(chosen)
    else:
        known = _component_set(subject)
        names = [chosen] if isinstance(chosen, str) else list(chosen)
        parts = {}
        for name in names:
            whole = name == FULL and FULL not in known
            parts |= {FULL: whole_component(FULL, subject.params)} if whole else dict(known.match(name))
    if full and FULL not in parts:
        parts[FULL] = whole_component(FULL, subject.params)
    if not parts:
        raise ComponentError(
            "no component is chosen",
            where=f"subject {subject.name}",
            value=chosen,
            why="there is nothing to read",
            do="give names or globs, e.g. 'blocks.*.attn.head.*'",
        )
    return parts


def stored_component(subject: Subject, name: str) -> Component:
    """The component that a run calls ``name``.

    Raises:
        ComponentError: The subject has no such component.
    """
    return next(iter(chosen_components(subject, [name], full=False).values()))


def _component_set(subject: Subject) -> ComponentSet:
    if isinstance(subject.components, ComponentSet):
        return subject.components
    shapes = {name: tuple(value.shape) for name, value in subject.params.items()}
    return ComponentSet(subject.components.values(), shapes)


def chosen_probes(subject: Subject, names: Sequence[str] | None) -> dict[str, Batch]:
    """The subject's probes of these names (all for None), ``base`` first.

    Raises:
        DataError: A name is unknown.
    """
    wanted = list(subject.probes) if names is None else list(names)
    unknown = [name for name in wanted if name not in subject.probes]
    if unknown:
        raise DataError(
            "the subject has no such probe",
            where=f"subject {subject.name}",
            value=unknown,
            why="its token losses cannot be read",
            do=f"use one of {sorted(subject.probes)}",
        )
    return {name: subject.probes[name] for name in dict.fromkeys(["base", *wanted])}
