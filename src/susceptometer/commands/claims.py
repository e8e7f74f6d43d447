"""Commands that go on from results: plan, reproduce."""

from pathlib import Path

from susceptometer.commands.given import Given, sayer, subject_of


def plan(given: Given) -> dict:
    """Which data strengthen or weaken a part: weights, and the response they should have."""
    from susceptometer.compute.opened import reading_at
    from susceptometer.view.plan_command import answer

    strings = subject_of(given.run).meta["token_strings"] if given.examples or given.page else None
    told, out = answer(reading_at(given.run), given, strings)
    sayer(given)(told)
    return out


def reproduce(given: Given) -> dict:
    """A published claim set, run again: claim, published figure, ours ± error, verdict; without NAME: the list."""
    from susceptometer.reproduce.registry import find, folder_of, names, page
    from susceptometer.reproduce.registry import reproduce as run_again
    from susceptometer.reproduce.setting import Setting
    from susceptometer.view.claims_page import write_claims_page

    say = sayer(given)
    if given.name is None:
        for name in names():
            say(f"{name:<26} {find(name).about}")
        return {"claims": names()}
    folder = Path(given.into) if given.into else folder_of(given.name, given.scale, given.seed)
    text = Path(given.text) if given.text else None
    setting = Setting(given.scale, given.seed, folder, text=text, say=say)
    table = run_again(given.name, setting)
    if given.out:
        table.write(Path(given.out))
    say(str(table))
    if given.page:
        write_claims_page(Path(given.page), page(table, setting))
        say(f"page: {given.page}")
    return table.as_dict()
