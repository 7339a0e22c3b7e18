"""Whether proposals are rejected in a tail of a parameter, where steps are too long.

A step size that fits most of a posterior is too long where its scale is much smaller, as in the
neck of a funnel. Almost all proposals into such a region and out of it are rejected: few chains
enter it, and those that do stay for long. R-hat and effective sample size see only what chains
visited, and may be right while the mean is many standard errors off. NUTS has divergences there;
kernels with Metropolis steps have acceptance probabilities.

The draws with the lowest and those with the highest `TAIL` of the values of a parameter are a tail
each, and so are those of the log density, which is high in a neck whatever the coordinates. The
acceptance rate `a` of a tail is the mean over the steps that end in it, which in equilibrium are
rejected as often as those that start there. It is compared with that of the run by the standard
deviation `s` of the energy error that gives such a rate,

    a = 2 Phi(-s / 2)

(Roberts, Gelman and Gilks 1997, doi:10.1214/aoap/1034625254). `s` grows as a power of the step
size over the local scale, whatever the acceptance rate that the warmup aims at. A few long stays
are no evidence: the two blocks of draws that lower the rate most are left out, and `NUM_ADDED`
draws with the acceptance rate of the run are added. How often this finds a neck, and how often it
is wrong, is in `docs/diagnostics.md`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Shaped
from scipy import special

from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.formatting import listed
from numpyro_score.diagnostics.posterior import at_draws
from numpyro_score.diagnostics.wording import Wordings, Words
from numpyro_score.groups import SAMPLE_DIMS

TAIL = 0.05
"""Share of the draws that is a tail."""

MIN_TAIL = 40
"""Fewest draws of a tail that is examined."""

MAX_ERROR_RATIO = 3.3
"""Energy error in a tail, over that of the run, above which there is a warning."""

HIGH_ENOUGH = 0.5
"""Acceptance rate of a tail from which on there is none: chains leave it within two steps or so."""

NUM_ADDED = 10
"""Draws that are added to those of a tail."""

NUM_BLOCKS = 16
"""Fewest blocks of draws: chains, or parts of chains where there are fewer chains."""

ACCEPTANCE = "acceptance_rate"
"""Statistic that is averaged."""

LOG_DENSITY = "lp"
"""Statistic whose tails are examined besides those of the parameters."""

SIZE = 1_000_000
"""Numbers that are sorted at once."""


class Tail(NamedTuple):
    """A tail in which proposals are rejected.

    Attributes
    ----------
    rate
        Its acceptance rate.
    place
        Which parameter.
    is_high
        Whether it is the tail of the highest values.
    """

    rate: float
    place: int
    is_high: bool

    def named(self, label: str) -> tuple[float, str]:
        """Its acceptance rate and its name, `low tau`."""
        return self.rate, f"{'high' if self.is_high else 'low'} {label}"


def tail_rates(
    values: Float[np.ndarray, "parameter chain draw"], acceptance: Float[np.ndarray, "chain draw"]
) -> Float[np.ndarray, "parameter tail"]:
    """Acceptance rates of the lower and the upper tail, rather too high than too low.

    Parameters
    ----------
    values
        Finite draws.
    acceptance
        Acceptance probability of the step that ended at each of them.

    Returns
    -------
    Rates without the two blocks that lower them most, and with `NUM_ADDED` draws; 1 where a tail
    has too few draws.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(2, 8, 500))
    >>> tail_rates(x, np.where(x[1] < -1.5, 0.0, 0.6)).round(2).tolist()
    [[0.57, 0.56], [0.03, 0.6]]
    """
    num_parameters, num_chains, num_draws = values.shape
    num_tail = int(TAIL * acceptance.size)
    if num_tail < MIN_TAIL:
        return np.ones((num_parameters, 2))
    parts = -(-NUM_BLOCKS // num_chains)
    block = np.arange(num_chains)[:, None] * parts + np.arange(num_draws) * parts // num_draws
    rates = np.empty((num_parameters, 2))
    size = max(SIZE // acceptance.size, 1)
    for first in range(0, num_parameters, size):
        flat = values[first : first + size].reshape(-1, acceptance.size)
        order = np.argpartition(flat, (num_tail - 1, acceptance.size - num_tail), axis=1)
        for tail, where in enumerate((order[:, :num_tail], order[:, -num_tail:])):
            rates[first : first + size, tail] = _cautious_rates(
                block.ravel()[where], acceptance.ravel()[where], acceptance.mean()
            )
    return rates


def _cautious_rates(
    block: Shaped[np.ndarray, "parameter draw"],
    acceptance: Float[np.ndarray, "parameter draw"],
    mean: float,
) -> Float[np.ndarray, " parameter"]:
    """Mean acceptance of draws without two of their blocks, and with others at the mean added."""
    num_blocks = int(block.max()) + 1
    place = (np.arange(len(block))[:, None] * num_blocks + block).ravel()
    size = len(block) * num_blocks
    num = np.bincount(place, minlength=size).reshape(-1, num_blocks)
    total = np.bincount(place, acceptance.ravel(), minlength=size).reshape(-1, num_blocks)
    kept = np.argsort(mean * num - total, axis=1)[:, :-2]
    num_kept = np.take_along_axis(num, kept, 1).sum(1)
    total_kept = np.take_along_axis(total, kept, 1).sum(1)
    rates = (total_kept + NUM_ADDED * mean) / (num_kept + NUM_ADDED)
    return np.maximum(rates, acceptance.mean(1))


def statistics_of(
    data: xr.Dataset, statistics: Mapping[Any, xr.DataArray], step: int = 1
) -> dict[str, Float[np.ndarray, "chain kept"]]:
    """Acceptance rate and log density at every `step`-th draw, by name; those that are recorded.

    Parameters
    ----------
    data
        The posterior.
    statistics
        Sample statistics by name; those that `at_draws` does not find are left out.
    step
        Which draws are taken.

    Examples
    --------
    >>> rate = xr.DataArray(np.ones((4, 9)), dims=SAMPLE_DIMS, coords={"draw": np.arange(9)})
    >>> thinned = xr.Dataset(coords={"chain": np.arange(4), "draw": [0, 4, 8]})
    >>> statistics_of(thinned, {"acceptance_rate": rate})["acceptance_rate"].shape
    (4, 3)
    """
    found = {}
    for name in (ACCEPTANCE, LOG_DENSITY):
        values = statistics.get(name)
        if values is None or set(values.dims) != set(SAMPLE_DIMS):
            continue
        values = at_draws(data, values)
        if values is None:
            continue
        kept = values.transpose(*SAMPLE_DIMS).isel(draw=slice(None, None, step))
        found[name] = kept.values.astype(np.float64)
    return found


def lowest_rate(mean: float) -> float:
    """Acceptance rate of a tail below which there is a warning.

    Parameters
    ----------
    mean
        Acceptance rate of the run.

    Examples
    --------
    >>> round(lowest_rate(0.6), 3), round(lowest_rate(0.8), 3), lowest_rate(0.95)
    (0.084, 0.403, 0.5)
    """
    of_error = float(2 * special.ndtr(MAX_ERROR_RATIO * special.ndtri(mean / 2)))
    return min(of_error, HIGH_ENOUGH)


def rejecting(
    values: Float[np.ndarray, "parameter chain draw"], acceptance: Float[np.ndarray, "chain draw"]
) -> list[Tail]:
    """The tails in which proposals are rejected.

    Parameters
    ----------
    values, acceptance
        As for `tail_rates`.
    """
    mean = acceptance.mean() if acceptance.size else 0.0
    # NaN compares as False
    if not 0.0 < mean <= 1.0:
        return []
    rates = tail_rates(values, acceptance)
    is_low = rates < lowest_rate(mean)
    return [
        Tail(float(rates[place, tail]), int(place), bool(tail))
        for place, tail in np.argwhere(is_low)
    ]


def rejected_tails(tails: Iterable[tuple[float, str]], acceptance: float) -> list[Finding]:
    """That proposals are rejected in some tails, if they are.

    Parameters
    ----------
    tails
        Acceptance rates and names of those that `rejecting` found.
    acceptance
        Acceptance rate of the run.
    """
    worst_first = sorted(tails)
    if not worst_first:
        return []
    labels = tuple(label for _, label in worst_first)
    value, limit = worst_first[0][0], lowest_rate(acceptance)
    details = {"acceptance": acceptance}
    return [Finding("tail_acceptance", Severity.WARNING, labels, value, limit, details)]


def tail_words(found: Finding) -> Words:
    """The finding of `rejected_tails` in words."""
    return Words(
        f"Proposals are rejected at {listed(found.parameters)}: among the {TAIL:.0%} of the draws "
        f"there the acceptance rate is {found.value:.2g}, over all draws "
        f"{found.details['acceptance']:.2f}. Chains seldom enter that region and stay there for "
        "long: means, R-hat and effective sample sizes may be wrong.",
        "Reparameterise (non-centered), or take smaller steps (local_step_size=True or a higher "
        "target_accept_prob) and draw more.",
    )


def of_log_density(known: Mapping[str, Float[np.ndarray, "chain draw"]]) -> list[tuple[float, str]]:
    """Tails of the log density as `rejected_tails` takes them, from `statistics_of`."""
    if LOG_DENSITY not in known or not np.isfinite(known[LOG_DENSITY]).all():
        return []
    found = rejecting(known[LOG_DENSITY][None], known[ACCEPTANCE])
    return [tail.named("log density") for tail in found]


WORDINGS: Wordings = {"tail_acceptance": tail_words}
"""Code -> its wording."""
