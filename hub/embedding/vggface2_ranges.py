"""How large the values inside the VGGFace2 network get, read off its batch norms. For the int8 variant.

A batch norm says of each channel what mean and spread it had on the training faces, so no face is needed
to choose the scales (the idea of Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through
Weight Equalization and Bias Correction", ICCV 2019). Through a ReLU and a sum the two are carried along as
those of independent normal variables. Called by `vggface2_graph`; pure.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from hub.embedding.vggface2_layers import ENTRANCE, Weights, blocks

SPREADS = 8.0
"""A channel is taken to reach so many standard deviations above its mean; what lies beyond is cut. With
weights measured on LFW, mean cosine of int8 with fp32: 0.986 at 4, 0.994 at 6, 0.995 at 9 (the worst face
0.961, 0.986, 0.994)."""
Moments = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Mean and variance of each channel."""


def limits(weights: Weights, spreads: float = SPREADS) -> dict[str, float]:
    """The largest value after each ReLU: by the name of the convolution before it, or of the block's sum
    (`conv2_1`). Zero is the smallest."""
    found: dict[str, float] = {}

    def activated(name: str, moments: Moments) -> Moments:
        mean, variance = moments
        found[name] = max(float((mean + spreads * np.sqrt(variance)).max()), 1e-6)
        return _rectified(moments)

    x = activated(ENTRANCE, _norm(weights, ENTRANCE))
    for b in blocks():
        activated(b.reduce, _norm(weights, b.reduce))
        activated(b.middle, _norm(weights, b.middle))
        grown, kept = _norm(weights, b.increase), _norm(weights, b.proj) if b.projects else x
        x = activated(b.prefix, (grown[0] + kept[0], grown[1] + kept[1]))
    return found


def _norm(weights: Weights, name: str) -> Moments:
    gamma, beta = (w.astype(np.float64) for w in weights[f"{name}/bn"][:2])
    return beta, gamma**2


def _rectified(moments: Moments) -> Moments:
    """Mean and variance of max(x, 0) for normal x."""
    mean, variance = moments
    deviation = np.sqrt(np.maximum(variance, 1e-12))
    ratio = mean / deviation
    below = 0.5 * (1 + erf(ratio / sqrt(2)))
    density = np.exp(-0.5 * ratio**2) / sqrt(2 * np.pi)
    first = mean * below + deviation * density
    second = (mean**2 + variance) * below + mean * deviation * density
    return first, np.maximum(second - first**2, 0.0)
