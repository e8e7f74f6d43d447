"""Short names of token clusters by rules: which token, after which, in what role, in which domain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST, HALF = 0.8, 0.5
"""Shares from which a token or a predecessor names a cluster."""

ROLE_SHARE, ROLE_LIFT = 0.6, 1.5
"""A pattern or a domain is named where it covers this share and this many times its share in all tokens."""


@dataclass(frozen=True)
class Makeup:
    """What a cluster is made of, as shares of its tokens.

    Args:
        tokens: Next tokens, most frequent first.
        before: Tokens before them, most frequent first.
        patterns: Token patterns (they overlap).
        domains: Probes.
        pattern_lift: Share of each pattern over its share in all tokens.
        domain_lift: The same of each domain.
    """

    tokens: Mapping[str, float]
    before: Mapping[str, float]
    patterns: Mapping[str, float]
    domains: Mapping[str, float]
    pattern_lift: Mapping[str, float]
    domain_lift: Mapping[str, float]


def short_label(makeup: Makeup) -> str:
    """A name of a few words.

    Rules, in this order: the next token(s) if one, or few together, make up most of the cluster, else the most
    specific pattern that covers it, else its commonest tokens; then the predecessor if one stands before half of the
    tokens; then the domain if the cluster keeps to one.

    >>> one = Makeup({" the": 0.9, " a": 0.1}, {" of": 0.7}, {}, {"code": 0.4}, {}, {"code": 1.0})
    >>> short_label(one)
    "' the' after ' of'"
    """
    parts = [_what(makeup), *_after(makeup), *_where(makeup)]
    return " ".join(parts)


def _what(makeup: Makeup) -> str:
    shares = list(makeup.tokens.items())
    for few in (1, 2, 3):
        if sum(share for _, share in shares[:few]) >= MOST:
            return ", ".join(quoted(token) for token, _ in shares[:few])
    roles = [
        (makeup.pattern_lift[name], name)
        for name, share in makeup.patterns.items()
        if name != "other" and share >= ROLE_SHARE and makeup.pattern_lift[name] >= ROLE_LIFT
    ]
    if roles:
        return max(roles)[1]
    return "mixed: " + ", ".join(quoted(token) for token, _ in shares[:3])


def _after(makeup: Makeup) -> Sequence[str]:
    token, share = next(iter(makeup.before.items()), ("", 0.0))
    return [f"after {quoted(token)}"] if share >= HALF else []


def _where(makeup: Makeup) -> Sequence[str]:
    name, share = next(iter(makeup.domains.items()), ("", 0.0))
    named = share >= ROLE_SHARE and makeup.domain_lift.get(name, 0.0) >= ROLE_LIFT
    return [f"in {name}"] if named else []


def quoted(token: str) -> str:
    """A token as it is read: quoted, line ends and tabs visible."""
    return repr(token)
