"""One error format for the whole package: what happened where, the value, why it matters, what to do."""


class SusceptometerError(Exception):
    """Base of every error raised on purpose.

    Args:
        what: What happened, in a few words.
        where: The object, file or argument concerned.
        value: The offending value (shown with ``repr`` unless it is a string).
        why: Why it matters.
        do: What the reader can do about it.
    """

    def __init__(self, what: str, *, where: str = "", value: object = None, why: str = "", do: str = "") -> None:
        self.what, self.where, self.value, self.why, self.do = what, where, value, why, do
        super().__init__(self._text())

    def _text(self) -> str:
        shown = self.value if isinstance(self.value, str) else repr(self.value)
        head = self.what + (f" in {self.where}" if self.where else "")
        parts = [head if self.value is None else f"{head} (got {shown})", self.why, self.do]
        return " ".join(part.strip().rstrip(".") + "." for part in parts if part)

    def __reduce__(self) -> tuple:
        fields = {"where": self.where, "value": self.value, "why": self.why, "do": self.do}
        return (_rebuild, (type(self), self.what, fields))


def _rebuild(kind: type[SusceptometerError], what: str, fields: dict) -> SusceptometerError:
    return kind(what, **fields)


class SubjectError(SusceptometerError):
    """A model or loss cannot serve as a subject (dropout on, reduced loss, NaN at w*, ...)."""


class ComponentError(SusceptometerError):
    """A component is unknown, empty, or does not fit the parameters."""


class DataError(SusceptometerError):
    """Data is missing, has the wrong shape, or holds tokens outside the vocabulary."""


class RecipeError(SusceptometerError):
    """A sampler, schedule or coupling setting is outside its range."""


class ChainError(SusceptometerError):
    """A chain failed or did not contract, so an estimate from it would mean nothing."""


class RunError(SusceptometerError):
    """A stored run is missing, unreadable, truncated, of another schema, or was interrupted."""
