"""The grammar of component names: short forms and globs become canonical names and patterns."""

import re

FIELD = r"[\d*?\[\]\-]+"
"""A number, a range ``0-31`` or a glob that stands for one."""

SHORT_FORMS = (
    (rf"L({FIELD})H({FIELD})", r"blocks.\1.attn.head.\2"),
    (rf"({FIELD}):({FIELD})", r"blocks.\1.attn.head.\2"),
    (rf"({FIELD}):kv({FIELD})", r"blocks.\1.attn.kv.\2"),
    (rf"({FIELD}):([qkvo])", r"blocks.\1.attn.\2"),
    (rf"({FIELD}):mlp:n({FIELD})", r"blocks.\1.mlp.neuron.\2"),
    (rf"({FIELD}):([a-z_][\w.*]*)", r"blocks.\1.\2"),
    (rf"L({FIELD})", r"blocks.\1"),
    (r"heads", "blocks.*.attn.head.*"),
    (r"mlps", "blocks.*.mlp"),
    (r"attns", "blocks.*.attn"),
    (r"layers", "blocks.*"),
)
"""Short forms (case does not matter) and the canonical TransformerLens-like names they mean."""

_ALIASES = (
    (r"blocks\.(\d+)\.attn\.head\.(\d+)", (r"\1:\2", r"L\1H\2")),
    (r"blocks\.(\d+)\.attn\.kv\.(\d+)", (r"\1:kv\2",)),
    (r"blocks\.(\d+)\.attn\.([qkvo])", (r"\1:\2",)),
    (r"blocks\.(\d+)\.mlp\.neuron\.([\d-]+)", (r"\1:mlp:n\2",)),
    (r"blocks\.(\d+)\.([a-z_]\w*)", (r"\1:\2",)),
    (r"blocks\.(\d+)", (r"L\1",)),
)


def canonical(pattern: str) -> str:
    """The canonical form of one short name or glob: ``L0H3`` -> ``blocks.0.attn.head.3``."""
    for short, full in SHORT_FORMS:
        if found := re.fullmatch(short, pattern, re.IGNORECASE):
            return found.expand(full).lower()
    return pattern


def short_names(name: str) -> tuple[str, ...]:
    """The short names that mean the canonical ``name``; empty when there is none."""
    for full, shorts in _ALIASES:
        if found := re.fullmatch(full, name):
            return tuple(found.expand(short) for short in shorts)
    return ()


def alternatives(pattern: str) -> list[str]:
    """The parts of ``a|b``, canonical and stripped; ``re:`` and ``param:`` stay whole."""
    if pattern.startswith(("re:", "param:")):
        return [pattern]
    return [canonical(part.strip()) for part in pattern.split("|")]


def glob_expression(pattern: str) -> re.Pattern[str]:
    """Regular expression of a glob over dotted names.

    ``*`` and ``?`` stay within one dotted field, ``**`` crosses fields, ``[0-3]`` is a class.
    """
    tokens = re.findall(r"\*\*|\*|\?|\[[^\]]+\]|.", pattern)
    meaning = {"**": ".*", "*": r"[^.]*", "?": r"[^.]"}
    parts = [meaning.get(t, t if len(t) > 2 and t[0] == "[" else re.escape(t)) for t in tokens]
    return re.compile("".join(parts))


def is_glob(pattern: str) -> bool:
    """Whether ``pattern`` may stand for several names."""
    return any(sign in pattern for sign in "*?[")
