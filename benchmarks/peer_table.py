"""The peer results as a Markdown table: what, devinterp, ours, ratio."""

Row = tuple[str, str, str, str]


def table(results: dict) -> str:
    """All cases that are present in ``results``."""
    rows: list[Row] = []
    if "toy" in results:
        rows += toy_rows(results["toy"])
    if "cost" in results:
        rows += cost_rows(results["cost"])
    if "order" in results:
        rows += order_rows(results["order"]["rows"] | results["order"]["same noise"])
    for name in ("pico", "stories", "pythia"):
        if name in results:
            rows += precision_rows(name, results[name])
    head = ["| what | devinterp | ours | ratio |", "|---|---|---|---|"]
    return "\n".join(head + ["| " + " | ".join(row) + " |" for row in rows])


def toy_rows(found: dict) -> list[Row]:
    """CPU time per chain-step and agreement with the exact LLC."""
    theirs, ours = found["sides"]["devinterp"], found["sides"]["ours"]
    ratio = theirs["cpu_s_per_step"] / ours["cpu_s_per_step"]
    times = (f"{side['cpu_s_per_step'] * 1e6:.2f} µs" for side in (theirs, ours))
    answers = (f"{side['llc']:.3f} ± {side['llc_se']:.3f}" for side in (theirs, ours))
    return [
        ("toy, CPU per chain-step", *times, f"{ratio:.0f}x"),
        (f"toy, LLC (exact {found['llc_exact']:.3f})", *answers, f"z {found['llc_z']:.1f}"),
    ]


def cost_rows(found: dict) -> list[Row]:
    """Steps, observable passes and memory on the Pythia-14M shape."""
    rows: list[Row] = []
    for label, sides in found["rows"].items():
        theirs, ours = sides["devinterp"], sides["ours"]
        for key, what in (("cpu_s_per_step", "step"), ("cpu_s_per_observable_pass", "observables")):
            rows.append(
                (
                    f"14M {label}, {what}",
                    f"{theirs[key]:.3f} s",
                    f"{ours[key]:.3f} s",
                    f"{theirs[key] / ours[key]:.1f}x",
                )
            )
            reduced = (f"ours, {precision}" for precision in ("mixed", "bfloat16"))
            rows += [
                (
                    f"14M {label}, {what}",
                    f"{theirs[key]:.3f} s",
                    f"{sides[name][key]:.3f} s ({name[6:]})",
                    f"{theirs[key] / sides[name][key]:.1f}x",
                )
                for name in reduced
                if name in sides
            ]
        memory = theirs["peak_rss_mb"] / ours["peak_rss_mb"]
        rows.append(
            (
                f"14M {label}, peak memory",
                f"{theirs['peak_rss_mb'] / 1e3:.2f} GB",
                f"{ours['peak_rss_mb'] / 1e3:.2f} GB",
                f"{memory:.1f}x",
            )
        )
    return rows


def order_rows(found: dict) -> list[Row]:
    """LLCs of stories260K by tool and order of the data."""
    return [
        (f"stories {head}, LLC, {name}", *((text, "") if name.startswith("devinterp") else ("", text)), "")
        for name, heads in found.items()
        for head, (value, error) in heads.items()
        for text in [f"{value:.3f} ± {error:.3f}"]
    ]


def precision_rows(name: str, found: dict) -> list[Row]:
    """Agreement per head, seconds to devinterp's error, and the factors."""
    rows: list[Row] = []
    theirs = found["cost"]["devinterp"]
    for part, price in theirs.items():
        for kind in ("independent", "bfloat16"):
            ours = found["cost"].get(kind, {}).get(part)
            if ours:
                spent = [
                    found["job"]["thin"] * one["cpu_s_per_step"] + one["cpu_s_per_observable_pass"]
                    for one in (price, ours)
                ]
                rows.append(
                    (
                        f"{name} {part}, a draw: {found['job']['thin']} steps and observables, {kind}",
                        *(f"{s * 1e3:.1f} ms" for s in spent),
                        f"{spent[0] / spent[1]:.1f}x",
                    )
                )
    for head, one in found["heads"].items():
        pairs = (one["llc"]["devinterp"], one["llc"]["independent"])
        values = (f"{value:.3f} ± {error:.3f}" for value, error in pairs)
        rows.append((f"{name} {head}, LLC", *values, f"z {one['llc']['z']:.1f}"))
        two = one["agreement"]["independent"]["two_run"]
        rows.append(
            (
                f"{name} {head}, χ two-run against devinterp",
                "",
                f"slope {two['slope']:.2f}",
                f"rms z {two['z_rms']:.2f}",
            )
        )
        seconds = one["cpu_s_to_devinterp_error"]
        best = min(seconds.values())
        rows.append(
            (
                f"{name} {head}, CPU to the same error of χ two-run",
                f"{seconds['devinterp']:.0f} s",
                f"{best:.0f} s",
                f"{seconds['devinterp'] / best:.1f}x",
            )
        )
    rows += [
        (f"{name}, {kind.replace('_', ' ')} factor", "", "", f"{value:.1f}x")
        for kind, value in found["speed_up"].items()
    ]
    return rows
