"""Claims about modes on real text: are they real, and how many of them does a language model's coefficient see."""

import itertools

import numpy as np

from susceptometer.estimate.estimate import format_pm
from susceptometer.reproduce import sequence_text_runs as text_runs
from susceptometer.reproduce.claims import Claim, Verdict
from susceptometer.reproduce.setting import Arrays, Setting
from susceptometer.testbed.form import Array

SPREAD = 1.0
"""n_beta times the spread of what is dropped: beyond it the expansion around the whole loss is not used."""


def text_claims(setting: Setting) -> list[Claim]:
    """E4: spectra of n-grams, and the modes that a language model's coefficient sees."""
    steps = text_runs.TEXT_AMOUNTS[setting.scale].steps
    return [_spectrum(setting), _expansion(setting), *(_resolved(setting, step) for step in steps), _tail(setting)]


def _spectrum(setting: Setting) -> Claim:
    found = text_runs.spectra(setting)
    clear = {name: int((found[f"{name}_amplitude"] > found[f"{name}_floor"]).sum()) for name in ("bigram", "trigram")}
    stable = {name: int((found[f"{name}_halves"] > 0.5).sum()) for name in clear}
    shown = "; ".join(
        f"{name}: {clear[name]} of {len(found[f'{name}_amplitude'])} above the floor {found[f'{name}_floor'][0]:.4f}, "
        f"{stable[name]} of the first {len(found[f'{name}_halves'])} found in both halves"
        for name in clear
    )
    return Claim(
        "The modes of the text's bigrams and backed-off trigrams are real, not counting noise",
        "not published; the floor and the split-half overlap decide (derived)", shown,
        "agrees" if min(clear.values()) > 3 and min(stable.values()) > 3 else "partly",
        "overlap by chance 0.002 per mode",
    )  # fmt: skip


def resolved(found: Arrays) -> int:
    """Fewest modes from which on lambda_K is within two standard errors of the whole coefficient; 0: none held."""
    whole, cut = found["llc"], found["cut"].mean(0)
    error = whole.std(ddof=1) / np.sqrt(len(whole))
    off = np.flatnonzero(np.abs(cut - whole.mean()) > 2 * error)
    first = off[-1] + 1 if len(off) else 0
    return int(found["kept"][first]) if first < len(found["kept"]) else 0


def _expansion(setting: Setting) -> Claim:
    """One run under the whole loss tells the coefficient of every truncation."""
    amount, rows, scores = text_runs.TEXT_AMOUNTS[setting.scale], [], []
    for step, n_betas in amount.sampled.items():
        for n_beta in n_betas:
            found = text_runs.sensitivity(setting, step, n_beta)
            for count in amount.counts:
                direct = text_runs.cut_llc(setting, step, count, n_beta)
                told = np.array([np.interp(count, found["kept"], row) for row in found["cut"]])
                if np.interp(count, found["kept"], found["spread"]) < SPREAD:
                    whole = found["llc"].mean()
                    rows.append((step, n_beta, count, told.mean(), direct.mean(), whole))
                    scores.append(abs(told.mean() - direct.mean()) / whole)
    if not rows:
        return Claim("One run tells every truncation", "first orders (derived)", "no run with small spread", "open")
    worst = int(np.argmax(scores))
    step, n_beta, count, told, direct, whole = rows[worst]
    return Claim(
        f"{text_runs.MODEL}: one run under the whole loss tells the coefficient of its truncations, "
        "n_beta E[D_K] + n_beta² Cov(D_K, D - D_K)",
        "first orders of the gap (derived); used where n_beta sd(D - D_K) < 1",
        f"{len(rows)} truncations sampled on their own: median gap {100 * np.median(scores):.2f} % of the coefficient, "
        f"largest {100 * scores[worst]:.1f} % ({_at(step)}, n_beta {n_beta:g}, {count} modes: told {told:.2f}, sampled "
        f"{direct:.2f} of {whole:.2f})",
        "agrees" if max(scores) < 0.05 else "partly" if np.median(scores) < 0.05 else "differs",
        "without the covariance term the gap is only n_beta E[D - D_K]",
    )


def _resolved(setting: Setting, step: int) -> Claim:
    amount, parts, numbers = text_runs.TEXT_AMOUNTS[setting.scale], [], []
    for n_beta in amount.n_betas:
        found = text_runs.sensitivity(setting, step, n_beta)
        number = resolved(found)
        spread = float(np.interp(number, found["kept"], found["spread"]))
        told = number > 0 and spread < SPREAD
        numbers += [number] if told else []
        from_ = f"from {number} modes (s = {found['amplitude'][number - 1]:.4f})" if told else "not told by this run"
        parts.append(f"n_beta {n_beta:g}: whole {_pm(found['llc'])}, {from_}{_sampled(setting, step, n_beta)}")
    grows = all(b >= a for a, b in itertools.pairwise(numbers))
    verdict: Verdict = "open" if len(numbers) < 2 else "differs"
    if len(numbers) > 1 and numbers[-1] > numbers[0]:
        verdict = "agrees" if grows else "partly"
    return Claim(
        f"{text_runs.MODEL}, {_at(step)}: the fewest modes whose coefficient agrees with the whole one (two standard "
        "errors) grow with n_beta",
        "expected, not published", "; ".join(parts), verdict,
        _null(setting, step),
    )  # fmt: skip


def _sampled(setting: Setting, step: int, n_beta: float) -> str:
    """Truncations that were sampled on their own."""
    amount = text_runs.TEXT_AMOUNTS[setting.scale]
    if n_beta not in amount.sampled.get(step, ()):
        return ""
    values = {count: text_runs.cut_llc(setting, step, count, n_beta) for count in amount.counts}
    return " (sampled: " + ", ".join(f"{count} modes {_pm(value)}" for count, value in values.items()) + ")"


def _null(setting: Setting, step: int) -> str:
    """As many random output vectors."""
    amount = text_runs.TEXT_AMOUNTS[setting.scale]
    if step != -1:
        return "sampled at the last checkpoint"
    n_beta, count = amount.n_betas[0], amount.counts[-1]
    null = text_runs.cut_llc(setting, step, count, n_beta, null=True)
    return f"{count} random output vectors at n_beta {n_beta:g}: {_pm(null)}"


def _tail(setting: Setting) -> Claim:
    """Why no truncation to 256 modes agrees with the whole loss."""
    amount, parts, shares = text_runs.TEXT_AMOUNTS[setting.scale], [], []
    for n_beta in amount.n_betas:
        found = text_runs.sensitivity(setting, -1, n_beta)
        whole = found["llc"].mean()
        cut = float(np.interp(amount.counts[-1], found["kept"], found["cut"].mean(0)))
        if np.interp(amount.counts[-1], found["kept"], found["spread"]) < SPREAD:
            shares.append(1 - cut / whole)
            parts.append(f"n_beta {n_beta:g}: {100 * shares[-1]:.1f} %")
            continue
        direct = text_runs.cut_llc(setting, -1, amount.counts[-1], n_beta).mean()
        parts.append(f"n_beta {n_beta:g}: {100 * (1 - direct / whole):.1f} % (sampled)")
    weights = sum(value.numel() for value in text_runs.loaded(setting, -1).params.values())
    flat = found["llc"].mean() / (weights / 2)
    even = len(shares) > 1 and np.ptp(shares) < 0.02
    return Claim(
        f"{text_runs.MODEL}: the modes beyond the {amount.counts[-1]}th carry a part of the coefficient that does not "
        "depend on n_beta while n_beta h << gamma (every mode then counts by its curvature, not by a threshold in s)",
        "flat directions: lambda = n_beta tr(H)/(2 gamma), linear in every mode (derived)",
        f"{'; '.join(parts)}; the whole coefficient is {100 * flat:.2f} % of d/2 at n_beta {amount.n_betas[-1]:g}",
        "agrees" if even else "open" if len(shares) < 2 else "differs",
        "a threshold in n_beta would make the part grow from nothing",
    )


def _at(step: int) -> str:
    return f"step {text_runs.step_of(step):,}"


def _pm(values: Array) -> str:
    return format_pm(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))
