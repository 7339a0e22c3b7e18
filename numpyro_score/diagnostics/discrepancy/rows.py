"""The measures of a discrepancy: what each is, what it detects and what it does not.

What a Stein discrepancy does not detect: Wenliang and Kanagawa 2020, arXiv:2008.10087.
"""

import math
from typing import NamedTuple


class Measure(NamedTuple):
    """What a reader has to know of a measure.

    Attributes
    ----------
    title
        Its name in sentences.
    unit
        Of its value.
    meaning
        What it detects, and what it does not.

    Examples
    --------
    >>> from numpyro_score.diagnostics.discrepancy import MEASURES
    >>> MEASURES["c2st"].title
    'classifier two-sample test'
    """

    title: str
    unit: str
    meaning: str


BLINDNESS = (
    "A kernel Stein discrepancy does not detect wrong weights of modes that lie apart: draws of "
    "one mode alone, or of all in wrong proportions, have as small a discrepancy as exact ones."
)
"""What a discrepancy known by the score alone must not be taken for."""

IN_SDS = "sds of the reference"

MEASURES = {
    "ksd": Measure(
        "kernel Stein discrepancy",
        "",
        f"Distance from the density within its modes, by the score alone. {BLINDNESS}",
    ),
    "ksd_moments": Measure(
        "kernel Stein discrepancy with moments",
        "",
        f"The same with a kernel for first and second moments within the modes. {BLINDNESS}",
    ),
    "ksd_perturbed": Measure(
        "perturbed kernel Stein discrepancy",
        "",
        "The same after one jump between the modes of the density that were found, which leaves "
        "exact draws exact and changes others: detects wrong weights of those modes.",
    ),
    "mmd": Measure(
        "maximum mean discrepancy",
        "",
        "Distance of the draws from the reference, by a Gaussian kernel as wide as the reference: "
        "detects weights of modes, location and spread, and little of finer detail.",
    ),
    "mmd_moments": Measure(
        "maximum mean discrepancy of moments",
        "",
        "The same with a kernel for means and covariances, and nothing else.",
    ),
    "sliced_wasserstein": Measure(
        "sliced Wasserstein distance",
        IN_SDS,
        "How far mass has to be moved, along lines; a tail that is wrong counts most.",
    ),
    "sliced_ks": Measure(
        "sliced Kolmogorov-Smirnov distance",
        "",
        "Largest difference of two distribution functions, mean over lines; does not detect tails.",
    ),
    "sinkhorn_w2": Measure(
        "Sinkhorn's Wasserstein distance",
        IN_SDS,
        "How far mass has to be moved in all dimensions at once. Exact samples are far apart in "
        "many dimensions: compare it with its floor; there is no test.",
    ),
    "c2st": Measure(
        "classifier two-sample test",
        "accuracy",
        "Accuracy of a classifier of draws and reference: 1/2 is chance, 1 is no overlap.",
    ),
}
"""Measure -> what it is, in the order of results."""

BY_SCORE = ("ksd", "ksd_moments", "ksd_perturbed")
"""Measures that take a score."""

BY_REFERENCE = tuple(name for name in MEASURES if name not in BY_SCORE)
"""Measures that take reference draws."""


class Row(NamedTuple):
    """What is known of one measure; NaN where nothing is.

    Attributes
    ----------
    value, floor, floor_sd
        The measure; what exact draws have on average at the sample size, and its sd.
    v, u
        V- and U-statistic.
    p_value
        Probability of a value as large for exact draws.
    num_draws
        Draws that it is of.
    reason
        Why there is nothing, or "".
    """

    value: float = math.nan
    floor: float = math.nan
    floor_sd: float = math.nan
    v: float = math.nan
    u: float = math.nan
    p_value: float = math.nan
    num_draws: int = 0
    reason: str = ""
