"""Points with planted clumps in a heavy-tailed body: what a clustering must find, and where it must find nothing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from susceptometer.rng import stream_seed


@dataclass(frozen=True)
class Clumped:
    """A cloud of points and the truth about it.

    Args:
        points: ``[points, dims]`` float32, not standardised.
        labels: Clump of each point, -1 for the body, ``[points]``.
    """

    points: NDArray[np.float32]
    labels: NDArray[np.int32]

    def clump(self, number: int) -> NDArray[np.intp]:
        """Places of the points of one clump."""
        return np.flatnonzero(self.labels == number)


@dataclass(frozen=True, kw_only=True)
class ClumpPlan:
    """How many points and clumps, and how tight the clumps are.

    Args:
        points: All points, the clumped ones included.
        dims: Dimensions.
        clumps: Number of clumps; their sizes are spread evenly in the logarithm from ``smallest`` to ``largest``.
        smallest: Points of the smallest clump.
        largest: Points of the largest clump.
        tightest: Standard deviation of the tightest clump, in standard deviations of the body.
        widest: The same of the widest.
        freedom: Degrees of freedom of the body's Student law; small is heavy-tailed.
        decay: The body's standard deviation along axis i is ``(1 + i) ** -decay`` before a random rotation.
    """

    points: int = 37_215
    dims: int = 32
    clumps: int = 40
    smallest: int = 25
    largest: int = 600
    tightest: float = 0.05
    widest: float = 0.3
    freedom: float = 5.0
    decay: float = 0.5


def clumped(plan: ClumpPlan, *, seed: int) -> Clumped:
    """Points of a plan, in random order.

    The body is a rotated Student law. A clump is a Gaussian around one draw of the body, its width between
    ``tightest`` and ``widest`` of the body's along every axis: inside the cloud, not beside it.

    Args:
        plan: What is planted; ``clumps=0`` gives the body alone.
        seed: Names the random stream.
    """
    draw = np.random.default_rng(stream_seed(seed, "clumps"))
    sizes = np.geomspace(plan.smallest, plan.largest, plan.clumps).round().astype(int)
    axes = (1.0 + np.arange(plan.dims)) ** -plan.decay
    rotation = np.linalg.qr(draw.normal(size=(plan.dims, plan.dims)))[0]

    def body(count: int) -> NDArray[np.float64]:
        scale = np.sqrt(plan.freedom / draw.chisquare(plan.freedom, size=(count, 1)))
        return draw.normal(size=(count, plan.dims)) * axes * scale

    centres = body(plan.clumps)
    widths = np.exp(draw.uniform(np.log(plan.tightest), np.log(plan.widest), size=plan.clumps))
    parts = [body(plan.points - int(sizes.sum()))]
    for centre, width, size in zip(centres, widths, sizes, strict=True):
        parts.append(centre + width * axes * draw.normal(size=(size, plan.dims)))
    labels = np.repeat(np.arange(-1, plan.clumps), [len(part) for part in parts])
    order = draw.permutation(plan.points)
    points = (np.concatenate(parts) @ rotation)[order]
    return Clumped(points.astype(np.float32), labels[order].astype(np.int32))
