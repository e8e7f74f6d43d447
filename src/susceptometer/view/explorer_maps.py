"""Maps of the tokens for the explorer: principal pairs, and UMAP, aligned over checkpoints."""

from collections.abc import Mapping, Sequence

import numpy as np

from susceptometer.structure.embed import MapSetting, embed_over_time
from susceptometer.structure.standardise import standardisation
from susceptometer.view.explorer_data import Floats, Frame

PAIRS = 4
"""Principal pairs that can be axes."""


def token_vectors(frame: Frame) -> Floats:
    """Column z-scores of psi ``[tokens, components]``; components that were not read are left out."""
    matrix = frame.psi.T
    used = np.isfinite(matrix).all(0) & (np.nan_to_num(matrix).std(0) > 0)
    return standardisation(matrix[:, used], "columns")(matrix[:, used])


def principal_maps(frames: Sequence[Frame]) -> Mapping[str, Floats]:
    """Scores on principal pairs 1 and 2, and 3 and 4: ``[frames, tokens, 2]`` each, in spreads of a component.

    The axes are those of the last frame (each one's largest loading positive), so that a place means the same at
    every checkpoint; frames are z-scored by their own spread over tokens.
    """
    vectors = [token_vectors(frame) for frame in frames]
    if len({each.shape[1] for each in vectors}) > 1:
        return {}
    axes = principal_axes(vectors[-1])
    scores = np.stack([each @ axes for each in vectors])
    return {f"pairs {k + 1} and {k + 2}": scores[:, :, k : k + 2] for k in range(0, axes.shape[1] - 1, 2)}


def principal_axes(vectors: Floats) -> Floats:
    """Leading eigenvectors of the covariance ``[components, at most PAIRS]``, each one's largest entry positive."""
    centred = vectors - vectors.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    few = axes[:, ::-1][:, :PAIRS]
    return few * np.sign(few[np.abs(few).argmax(0), np.arange(few.shape[1])])


def umap_map(frames: Sequence[Frame], setting: MapSetting, *, seed: int) -> Mapping[str, Floats]:
    """UMAP of every frame, each started from its successor's map and turned onto it ``[frames, tokens, 2]``.

    Raises:
        DataError: umap-learn is not installed, or there are too few tokens.
    """
    maps = embed_over_time([token_vectors(frame) for frame in frames], setting, seed=seed)
    return {f"UMAP, {setting.neighbours} neighbours": np.stack(maps)}
