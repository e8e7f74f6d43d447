"""susceptometer: read the structure of a neural network from how it answers small changes of its data."""

import importlib

_HOMES = {
    "posterior.subject": ("Subject",),
    "posterior.component": ("Component",),
    "posterior.component_set": ("ComponentSet",),
    "posterior.local": ("LocalPosterior",),
    "sampling.recipe": ("Recipe", "Schedule"),
    "sampling.sgld": ("SGLD", "LeimkuhlerMatthews"),
    "sampling.rmsprop": ("RMSpropSGLD",),
    "sampling.sghmc": ("SGHMC",),
    "sampling.sgnht": ("SGNHT",),
    "sampling.mala": ("MALA",),
    "sampling.coupling": ("Coupling", "antithetic", "coupled", "independent"),
    "sampling.run": ("Keep",),
    "sampling.reading": ("Reading", "read_here"),
    "estimate.estimate": ("Estimate",),
    "estimate.llc": ("llc", "llc_from_two_temperatures", "wbic"),
    "estimate.susceptibility": (
        "psi", "susceptibility", "susceptibility_coupled", "susceptibility_covariance", "susceptibility_two_run",
    ),
    "estimate.checkpoints": ("compare_llc", "llc_differences", "llc_over"),
    "estimate.diagnostics": ("check",),
    "estimate.examine": ("examine",),
    "estimate.calibrate": ("Aim", "calibrate"),
    "structure.cluster": ("ClusterSettings", "Clusters", "cluster"),
    "structure.export": ("token_table", "write_tokens"),
    "structure.match": ("match_clusters",),
    "structure.sae": ("SAE", "load_sae"),
    "compute.options": ("ReadOptions",),
    "compute.opened": ("reading_at",),
    "compute.read": ("cost", "extend", "read"),
    "compute.schedule": ("Goal",),
    "view.report": ("report",),
    "structure.response": ("Response", "response"),
    "structure.spectrum": ("Spectrum", "spectrum"),
    "structure.embed": ("MapSetting", "embed", "embed_over_time"),
    "patterning.response": ("Response", "response"),
    "patterning.inverse": ("Inversion",),
    "patterning.limits": ("Limits",),
    "patterning.weighting": ("Clip",),
    "patterning.plan": ("Plan", "plan"),
    "patterning.local_check": ("local_check",),
    "train.weighted_data": ("DataWeights", "load_weights"),
    "errors": ("SusceptometerError",),
}  # fmt: skip
_NAMES = {name: home for home, names in _HOMES.items() for name in names}
_ROOMS = {"language": "domains.language", "testbed": "testbed"}

__all__ = sorted([*_NAMES, *_ROOMS])  # noqa: PLE0605 - the names are looked up when first used


def __getattr__(name: str) -> object:
    """Public names load when first used, so that importing the package stays light."""
    if name in _ROOMS:
        return importlib.import_module(f"susceptometer.{_ROOMS[name]}")
    if name not in _NAMES:
        raise AttributeError(f"module 'susceptometer' has no attribute {name!r}")
    return getattr(importlib.import_module(f"susceptometer.{_NAMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
