"""What the spectroscopy claims stand on: clusters of readings, of their nulls and of activations, each made once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from susceptometer.domains.activations import probe_tokens, residual_streams, target_activations
from susceptometer.domains.checkpoints import at_checkpoint
from susceptometer.posterior.subject import Subject
from susceptometer.reproduce.language_reading import ReadingPlan, measured, text_subject
from susceptometer.reproduce.language_tokens import TokenFacts, token_facts
from susceptometer.reproduce.setting import Arrays, Setting
from susceptometer.rng import stream_seed
from susceptometer.structure.cluster import Clusters, ClusterSettings, cluster, cluster_points
from susceptometer.structure.response import FORMS, Response, response_of
from susceptometer.structure.stability import best_jaccard, shuffled_jaccard


@dataclass(frozen=True)
class Cluster:
    """One clustering as it is kept.

    Args:
        labels: Cluster of each natural token, -1 for the main body.
        conductance: ``[clusters]``.
        halves: Overlap with clusters of chain halves, ``[clusters]``; NaN where there are no chains.
        seeds: Overlap with another seed, ``[clusters]``.
        chance: Overlap by chance.
        phi_max: Largest accepted conductance.
    """

    labels: NDArray[np.int32]
    conductance: NDArray[np.float64]
    halves: NDArray[np.float64]
    seeds: NDArray[np.float64]
    chance: float
    phi_max: float

    @property
    def count(self) -> int:
        """Number of clusters."""
        return len(self.conductance)

    @property
    def members(self) -> list[NDArray[np.intp]]:
        """Tokens of each cluster."""
        return [np.flatnonzero(self.labels == number) for number in range(self.count)]

    @property
    def inside(self) -> float:
        """Share of tokens in clusters."""
        return float((self.labels >= 0).mean())


@dataclass(frozen=True)
class Spectroscopy:
    """Everything that is clustered.

    Args:
        subject: Final weights of training seed 0 on the text.
        facts: Of the natural tokens.
        chi: Response of seed 0 in both forms, and within-run at n_beta = 0; natural tokens.
        found: Clusterings by name: ``within-run``, ``two-run``, ``n_beta = 0``, ``shuffled``, ``training seed N``,
            ``activations``.
        settings: Of all of them.
    """

    subject: Subject
    facts: TokenFacts
    chi: dict[str, Response]
    found: dict[str, Cluster]
    settings: ClusterSettings

    def clusters(self, name: str) -> Clusters:
        """A clustering of seed 0's chi with its tokens, for cards."""
        one = self.found[name]
        return Clusters(
            one.labels,
            one.conductance,
            one.halves,
            one.seeds,
            one.chance,
            one.phi_max,
            self.chi[name],
            self.settings,
        )

    @property
    def strings(self) -> list[str]:
        """Decoded string of every token id."""
        return list(self.subject.meta["token_strings"])  # type: ignore[call-overload]


def spectroscopy_of(
    setting: Setting, plan: ReadingPlan, settings: ClusterSettings, trained: tuple[int, ...]
) -> Spectroscopy:
    """Read, cluster, and cluster the nulls; finished cells are kept.

    Args:
        setting: Seed, folder, text.
        plan: Of the readings.
        settings: Of the clusterings.
        trained: Training seeds of the model; the first is described in full.
    """
    subject = at_checkpoint(text_subject(setting, plan))
    facts = token_facts(subject)
    natural = facts.natural
    chi: dict[str, Response] = {
        form: one.of_tokens(natural) for form, one in measured(setting, plan, trained=trained[0]).items()
    }
    control = measured(setting, plan, trained=trained[0], control=True)["within-run"].of_tokens(natural)
    chi["n_beta = 0"] = control
    found: dict[str, Cluster] = {
        form: _kept(setting, form, _clustering(setting, chi[form], settings)) for form in FORMS
    }
    found["n_beta = 0"] = _kept(setting, "gaussian", _clustering(setting, control, settings))
    found["shuffled"] = _kept(
        setting, "shuffled", _clustering(setting, _shuffled(chi["within-run"], setting), settings)
    )
    for other in trained[1:]:
        again = measured(setting, plan, trained=other)["within-run"].of_tokens(natural)
        found[f"training seed {other}"] = _kept(setting, f"trained{other}", _clustering(setting, again, settings))
    found["activations"] = _kept(setting, "activations", _of_activations(setting, subject, natural, settings))
    return Spectroscopy(subject, facts.of(natural), chi, found, settings)


def _kept(setting: Setting, key: str, make: Callable[[], Arrays]) -> Cluster:
    kept = setting.kept(f"clusters-{key}", make)
    return Cluster(**{**kept, "chance": float(kept["chance"]), "phi_max": float(kept["phi_max"])})  # type: ignore[arg-type]


def _clustering(setting: Setting, chi: Response, settings: ClusterSettings) -> Callable[[], Arrays]:
    def make() -> Arrays:
        setting.say(f"clustering {chi.replicates.sizes['token']:,} tokens")
        one = cluster(chi, settings, seed=setting.seed)
        numbers = {"chance": np.array(one.chance), "phi_max": np.array(one.phi_max)}
        named = ("labels", "conductance", "halves", "seeds")
        return {**{name: getattr(one, name) for name in named}, **numbers}

    return make


def _shuffled(chi: Response, setting: Setting) -> Response:
    """Every column permuted over tokens, all groups alike: marginals stay, joint structure goes (reading.md 10)."""
    draw = np.random.default_rng(stream_seed(setting.seed, "shuffled columns"))
    values = np.stack([draw.permutation(column.T).T for column in chi.replicates.values.swapaxes(0, 1)], axis=1)
    return response_of(values, chi.components, {}, chi.form)


def _of_activations(
    setting: Setting, subject: Subject, natural: NDArray[np.bool_], settings: ClusterSettings
) -> Callable[[], Arrays]:
    """Clusters of the last residual stream at the last context token, z-scored (reading.md 10)."""

    def make() -> Arrays:
        stream = residual_streams(subject, probe_tokens(subject)[:, :-1])[-1]
        points = target_activations(stream, "context").numpy()[natural]
        points = ((points - points.mean(0)) / points.std(0)).astype(np.float32)
        first, second = (cluster_points(points, settings, seed=setting.seed + i) for i in (0, 1))
        labels, other = first.partition.labels, second.partition.labels
        return {
            "labels": labels, "conductance": first.partition.conductance,
            "halves": np.full(first.partition.count, np.nan), "seeds": best_jaccard(labels, other),
            "chance": np.array(np.append(shuffled_jaccard(labels, other, seed=0), 0.0).mean()),
            "phi_max": np.array(first.phi_max),
        }  # fmt: skip

    return make
