"""The worked machines: every table with a name, and the problem it solves."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

from susceptometer.domains.programs.machine import Error, Machine, Rule, rules_from
from susceptometer.domains.programs.problem import Problem, problem, strings

DETECT_A = """
_ r   -> _ r   S
_ acc -> _ acc S
A r   -> A acc S
A acc -> A acc S
B r   -> B r   R
B acc -> B acc S
"""
DETECT_A_CHANGES = {
    0: "",
    1: "A r -> A acc R | A acc -> A acc R | B acc -> B acc R",
    2: "A r -> A acc R | A acc -> A acc R | B acc -> A acc R",
    3: "B acc -> A acc S | _ acc -> A acc S",
}
DETECT_A_TWINS = {
    1: """
_ acc -> _ acc S
A acc -> _ acc L
B acc -> B acc S
A r   -> A acc L
B r   -> _ r   R
_ r   -> A r   R
""",
    2: """
_ acc -> _ acc R
A acc -> _ acc L
B acc -> _ acc S
A r   -> _ acc R
B r   -> B r   R
_ r   -> _ r   L
""",
}
PARITY_CHECK = """
_ getNextAB -> _ accept    S
A getNextAB -> X getNextB  R
B getNextAB -> X getNextA  R
X getNextAB -> X getNextAB R
_ getNextA  -> _ reject    S
A getNextA  -> X gotoStart L
B getNextA  -> B getNextA  R
X getNextA  -> X getNextA  R
_ getNextB  -> _ reject    S
B getNextB  -> X gotoStart L
A getNextB  -> A getNextB  R
X getNextB  -> X getNextB  R
A gotoStart -> A gotoStart L
B gotoStart -> B gotoStart L
X gotoStart -> X gotoStart L
_ gotoStart -> _ getNextAB R
"""


def detect_a(variant: int = 0) -> Machine:
    """Does the string contain A? Start r (reject), 30 errors; variants 1-3 compute the same function."""
    rules = {(rule.symbol, rule.state): rule for rule in rules_from(DETECT_A)}
    for line in filter(None, DETECT_A_CHANGES[variant].split(" | ")):
        (rule,) = rules_from(line)
        rules[rule.symbol, rule.state] = rule
    return Machine(f"detectA V{variant}", ("_", "A", "B"), ("r", "acc"), "r", tuple(rules.values()))


def detect_a_twin(number: int) -> Machine:
    """D1 and D2: same function as detectA on L = 2, t = 3, with different exact learning coefficients."""
    rules = rules_from(DETECT_A_TWINS[number])
    return Machine(f"detectA D{number}", ("_", "A", "B"), ("r", "acc"), "r", rules)


def contains_a(longest: int, steps: int) -> Problem:
    """All strings over {A, B} of length 1 to ``longest``."""
    return problem(strings("AB", longest), lambda word: "acc" if "A" in word else "r", steps)


def parity_check() -> Machine:
    """As many A as B? Four symbols, six states, 240 errors."""
    states = ("reject", "accept", "getNextAB", "getNextA", "getNextB", "gotoStart")
    written = rules_from(PARITY_CHECK)
    stay = [Rule(s, q, s, q, "S") for s in "_ABX" for q in ("reject", "accept")]
    return Machine("parityCheck", ("_", "A", "B", "X"), states, "getNextAB", (*written, *stay))


def balanced(longest: int, steps: int) -> Problem:
    """As many A as B, for all strings over {A, B} of length 1 to ``longest``."""

    def answer(word: str) -> str:
        return "accept" if word.count("A") == word.count("B") else "reject"

    return problem(strings("AB", longest), answer, steps)


def clockwork(after: str, *, names: str = "", name: str = "") -> Machine:
    """A state-only machine on an empty tape: digit i of ``after`` is the state that follows state i."""
    names = names or "0123456789"[: len(after)]
    states = tuple(names)
    rules = tuple(Rule("_", q, "_", states[int(n)], "S") for q, n in zip(states, after, strict=True))
    return Machine(name or after, ("_",), states, states[0], rules, kinds=("st",))


def reaches(state: str, steps: int) -> Problem:
    """The empty input; correct is one final state."""
    return Problem(("",), (state,), (steps,))


def m1() -> Machine:
    """r -> acc, s -> s, acc -> acc: the direct way (states r, s, a)."""
    return clockwork("212", names="rsa", name="M1")


def m2() -> Machine:
    """r -> s -> acc -> acc: by way of s."""
    return clockwork("122", names="rsa", name="M2")


def re_reader() -> Machine:
    """r -> acc, acc -> acc: reads again until it accepts."""
    return clockwork("11", names="ra", name="re-reader")


def flip_flop() -> Machine:
    """r -> acc, acc -> r: accepts at odd times."""
    return clockwork("10", names="ra", name="flip-flop")


def automaton(name: str, after: Sequence[Sequence[str]], labels: Sequence[str] = ()) -> Machine:
    """A finite automaton on {0, 1} as a machine that only moves right; state noise at letters only.

    Args:
        name: Short name.
        after: ``after[q][letter]`` is the next state; states are 0, 1, 2, ...
        labels: Output of each state; empty: the state itself.
    """
    states = tuple(str(q) for q in range(len(after)))
    rules = [Rule(str(a), q, str(a), after[int(q)][a], "R") for q in states for a in (0, 1)]
    idle = [Rule("_", q, "_", q, "R") for q in states]
    frozen = frozenset(Error("_", q, "st", v) for q in states for v in states if v != q)
    named = tuple(zip(states, labels, strict=True)) if labels else ()
    return Machine(name, ("_", "0", "1"), states, "0", (*rules, *idle), named, ("st",), frozen)


def parity_automaton() -> Machine:
    """States 0 (even) and 1 (odd): letter 1 flips."""
    return automaton("parity", ("01", "10"))


def word_function(answer: Callable[[str], int], longest: int) -> Problem:
    """A yes/no question about binary words of length 1 to ``longest``, answered at the end of the word."""
    return problem(strings("01", longest), lambda word: str(int(answer(word))))


WORD_FUNCTIONS: dict[str, Callable[[str], int]] = {
    "parity": lambda word: word.count("1") % 2,
    "or": lambda word: "1" in word,
    "last": lambda word: word[-1] == "1",
}
"""The questions of the search over automata."""


def automata(states: int, question: Problem) -> Iterator[Machine]:
    """Every automaton with ``states`` states and an output map that answers the question."""
    digits = "0123456789"[:states]
    for letters in product(digits, repeat=2 * states):
        after = ["".join(letters[2 * q : 2 * q + 2]) for q in range(states)]
        for labels in product("01", repeat=states):
            machine = automaton(f"{' '.join(after)} | {','.join(labels)}", after, labels)
            if question.solved_by(machine):
                yield machine
