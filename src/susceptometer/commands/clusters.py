"""Commands about clusters of tokens: cluster, and sae (which features of an autoencoder name them)."""

from pathlib import Path
from typing import Any

import numpy as np

from susceptometer.commands.given import Given, sayer, subject_of, write_table
from susceptometer.errors import RunError


def cluster(given: Given) -> dict:
    """Clusters of tokens that the parts of a model answer alike, with cards, stability and a table of tokens."""
    from susceptometer.structure.export import token_table, write_tokens

    found = _clusters(given, given.run)
    strings = subject_of(given.run).meta["token_strings"]
    cards = found.cards(strings, contexts=given.contexts)
    say = sayer(given)
    say(repr(found))
    for card in cards[: given.cards]:
        say(f"\n{card}")
    if given.out:
        table = token_table(found, strings=strings, labels=[card.label for card in cards])
        if given.out.endswith(".parquet"):
            write_tokens(table, given.out)  # with what is known of each cluster
        else:
            write_table(table.to_pandas(), Path(given.out))
    rows = found.table().reset_index().to_dict("records")
    named = [{**row, "label": card.label} for row, card in zip(rows, cards, strict=True)]
    out = {"clusters": named, "tokens": len(found.labels), "phi_max": found.phi_max, "chance": found.chance}
    return {**out, **_compared(given, found), "out": given.out}


def sae(given: Given) -> dict:
    """Which features of a sparse autoencoder name the clusters of a run, beside a null within equal tokens."""
    import torch

    from susceptometer.domains.activations import probe_tokens, residual_streams, target_activations
    from susceptometer.domains.dictionaries import bundled_dictionary, token_features
    from susceptometer.structure.cards import chi_values
    from susceptometer.structure.match import match_clusters
    from susceptometer.structure.sae import load_sae
    from susceptometer.structure.upsample import row_numbers

    found, subject = _clusters(given, given.run), subject_of(given.run)
    dictionary = load_sae(given.features) if given.features else bundled_dictionary(given.stream)
    rows = probe_tokens(subject)
    with torch.no_grad():
        stream = residual_streams(subject, rows[:, :-1])[given.stream]
    features = token_features(dictionary, target_activations(stream, given.place))
    ids = chi_values(found.response)["token_id"].to_numpy()
    if features.shape[0] != len(ids):
        raise RunError(
            "the run's tokens are not those of its model's text",
            where=given.run,
            value=(features.shape[0], len(ids)),
            why="features are read on the same rows",
            do="use a run without added text",
        )
    matching = match_clusters(found.members, features, ids, row_numbers(found.response), seed=given.seed)
    share, low, high = matching.share()
    mean, largest = matching.null_share() if found.count else (0.0, 0.0)
    identity = float(np.mean(matching.identity >= 0.5)) if found.count else 0.0
    say = sayer(given)
    say(
        f"{int((matching.f1 >= 0.5).sum())} of {found.count} clusters are named by a feature at held-out F1 0.5: "
        f"{share:.0%}, 95 % interval {low:.0%} to {high:.0%}; labels permuted among equal next tokens: {mean:.0%}, "
        f"at most {largest:.0%}; next tokens alone: {identity:.0%}"
    )
    cards = found.cards(subject.meta["token_strings"], contexts=1)
    out = []
    for card, match in zip(cards, matching.matches, strict=True):
        told = f"feature {match.feature}, F1 {match.f1:.2f}, AUROC {match.auroc:.2f}"
        say(f"  cluster {card.number} {card.label}: {told}")
        out.append({"cluster": card.number, "label": card.label, **match.__dict__})
    return {"matches": out, "share": share, "interval": [low, high], "null": mean, "null_largest": largest}


def _clusters(given: Given, run: str) -> Any:
    """The clusters of a run as the options ask."""
    from susceptometer.compute.opened import reading_at
    from susceptometer.structure.cluster import ClusterSettings
    from susceptometer.structure.cluster import cluster as clustered
    from susceptometer.structure.response import response

    chi = response(reading_at(run), given.form, drop_failed=given.drop_failed)
    settings = ClusterSettings(k=given.neighbours, graph=given.graph, phi_max=given.phi_max, null=given.null)
    return clustered(chi, settings, seed=given.seed)


def _compared(given: Given, found: Any) -> dict:
    """Overlap with the clusters of another run of the same tokens, e.g. one at n_beta = 0."""
    from susceptometer.structure.stability import best_jaccard

    if not given.against:
        return {}
    other = _clusters(given, given.against)
    if len(other.labels) != len(found.labels):
        raise RunError(
            "the two runs have different tokens",
            where=given.against,
            value=(len(found.labels), len(other.labels)),
            why="clusters of other tokens cannot overlap",
            do="read both on the same text",
        )
    overlap = best_jaccard(found.labels, other.labels)
    again = int((overlap >= 0.5).sum())
    sayer(given)(f"\n{given.against}: {other.count} clusters; {again} of {found.count} are found again (Jaccard 0.5)")
    return {"against": {"clusters": other.count, "found_again": again, "overlap": overlap.tolist()}}
