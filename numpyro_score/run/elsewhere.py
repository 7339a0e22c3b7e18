"""Modes that no chain visited, looked for at the end of a run whose kernel was chosen.

Chains that all started in the basin of one mode agree with each other: R-hat and effective sample
sizes say nothing of other modes. Short chains from dispersed starts, draws of the prior or of a
wide Gaussian, find those whose basins they hit (`learned/dispersed.py`). One that ends at a log
density as high as those of the draws, and far from all of them, has found a mode or a point of a
tail. Short chains go on from such ends, and others from draws of the run: where the first do not
come to the draws, and the masses that both estimate (`mass.py`) are comparable, the run lacks a
mode. Finding none proves nothing.
"""

import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Bool, Float
from scipy.spatial.distance import cdist

from numpyro_score.diagnostics.elsewhere import FOUND, LOOKED
from numpyro_score.learned.dispersed import run_dispersed_chains
from numpyro_score.learned.reference import reference_of
from numpyro_score.run.check import PACKAGE
from numpyro_score.run.density import Positions, RunDensity
from numpyro_score.run.mass import is_comparable, log_mass
from numpyro_score.run.plan import Plan
from numpyro_score.run.short_chains import NUM_STEPS, short_chains

NUM_CHAINS = 32
"""Chains from dispersed starts, with 101 gradients each: a tenth of what the cheapest runs cost.

On ten modes in ten dimensions of which 32 chains had visited one, 9 to 21 of them ended in others
(four seeds)."""

SEARCH = 1003
"""Keeps the search's key apart from those that the kernel splits off the run's."""

NUM_DRAWS = 1_000
"""Draws of the run that they are compared with, at most."""

APART = 4.0
"""Squared distance above which an end is far, in units of the largest of the draws."""

LOWEST = 0.01
"""Quantile of the draws' log densities from which on an end is as high as they are."""


class Elsewhere(NamedTuple):
    """What the chains from dispersed starts found.

    Attributes
    ----------
    num_found
        Chains that ended where the run has no draws.
    num_grad, seconds
        What it cost.
    """

    num_found: int
    num_grad: int
    seconds: float

    @property
    def attributes(self) -> dict[str, Any]:
        """What the run records."""
        return {
            FOUND: self.num_found,
            LOOKED: NUM_CHAINS,
            "num_grad_search": self.num_grad,
            "seconds_search": self.seconds,
        }


def look_elsewhere(plan: Plan, density: RunDensity | None, samples: Any) -> dict[str, Any]:
    """Run chains from dispersed starts, and compare where they end with the draws.

    Parameters
    ----------
    plan
        The run.
    density
        Its log density; None where it is not known, and nothing is looked for.
    samples
        Its draws, `(chain, draw, ...)`: the model's sites, or positions where there is no model.

    Returns
    -------
    Attributes of the run, as `Elsewhere.attributes`; empty without a density, after an interrupt,
    and if the search fails.

    Warns
    -----
    UserWarning
        If the search fails, which costs none of the draws.
    """
    if density is None:
        return {}
    try:
        return _search(plan, density, samples).attributes
    except KeyboardInterrupt:
        return {}
    except Exception as error:
        warnings.warn(
            f"other modes were not looked for, since the search failed ({error}); the draws are "
            "complete",
            skip_file_prefixes=(PACKAGE,),
        )
        return {}


def _search(plan: Plan, of: RunDensity, samples: Any) -> Elsewhere:
    began = time.perf_counter()
    flat, unravel = ravel_pytree(of.template)

    def density(x: Float[Any, " dim"]) -> Any:
        return of.logdensity_fn(unravel(x))

    reference = reference_of(None, of.model, flat, of.args, of.kwargs)
    key = jax.random.fold_in(plan.rng_key, SEARCH)
    found = run_dispersed_chains(density, reference, key, NUM_CHAINS, (1.0,))
    draws = of.positions(samples, max(NUM_DRAWS // plan.num_chains, 1))
    pooled = draws.points.reshape(-1, flat.size), draws.logdensity.ravel()
    ends = np.asarray(found.positions, np.float64)
    is_found = is_elsewhere(*pooled, ends, np.asarray(found.logdensity, np.float64))
    num, num_grad = int(is_found.sum()), found.num_grad
    if num:
        key = jax.random.fold_in(key, SEARCH)
        num = _num_comparable(density, *pooled, ends[is_found], key)
        num_grad += 2 * NUM_CHAINS * (NUM_STEPS + 1)
    return Elsewhere(num, num_grad, time.perf_counter() - began)


def _num_comparable(
    density: Callable[[Any], Any],
    draws: Float[np.ndarray, "draw dim"],
    logdensity: Float[np.ndarray, " draw"],
    ends: Float[np.ndarray, "end dim"],
    rng_key: Any,
) -> int:
    """How many chains that go on from the ends stay away from the draws, in a mode of mass.

    The mass of the run's mode is estimated in the same way, from draws of the run.
    """
    own = draws[np.linspace(0, len(draws) - 1, NUM_CHAINS).astype(int)]
    # as many chains as ever, so that the number of ends does not matter to the compiled program
    starts = np.concatenate([own, np.resize(ends, own.shape)])
    paths = short_chains(density, starts, draws.std(axis=0), rng_key)
    each = zip(paths.points[:, None], paths.logdensity[:, None], strict=True)
    masses = np.array([log_mass(Positions(*path)) for path in each])
    last = paths.points[NUM_CHAINS:, -1], paths.logdensity[NUM_CHAINS:, -1]
    is_apart = is_elsewhere(draws, logdensity, *last)
    usual = float(np.median(masses[:NUM_CHAINS]))
    counts = is_apart & is_comparable(masses[NUM_CHAINS:], usual, draws.shape[1])
    return int(counts[: len(ends)].sum())


def is_elsewhere(
    draws: Float[np.ndarray, "draw dim"],
    logdensity: Float[np.ndarray, " draw"],
    ends: Float[np.ndarray, "end dim"],
    logdensity_of_ends: Float[np.ndarray, " end"],
) -> Bool[np.ndarray, " end"]:
    """Whether ends lie far from all draws, at a log density as high as theirs.

    Mahalanobis distances, from the mean and from the nearest draw. The mean and the covariance are
    those of the first half of the draws, and the ends are compared with the second half: distances
    of the draws that a covariance is estimated from are too short in many dimensions, and any
    other point would seem far away.

    Parameters
    ----------
    draws, logdensity
        Of the run, at least four, one chain after the other.
    ends, logdensity_of_ends
        Where the chains from dispersed starts ended.

    Examples
    --------
    >>> draws = np.random.default_rng(0).normal(size=(200, 2))
    >>> height = -0.5 * (draws**2).sum(axis=1)
    >>> ends = np.array([[0.5, 1.0], [30.0, 0.0], [0.0, 40.0]])
    >>> is_elsewhere(draws, height, ends, np.array([-0.6, -0.1, -90.0])).tolist()
    [False, True, False]
    """
    is_usable = np.isfinite(ends).all(axis=1) & (
        logdensity_of_ends >= np.quantile(logdensity, LOWEST)
    )
    if not is_usable.any():
        return is_usable
    first, second = np.split(draws, [len(draws) // 2])
    center = first.mean(axis=0)
    # directions in which draws do not vary, up to rounding, have no distance
    _, scales, axes = np.linalg.svd((first - center) / np.sqrt(len(first)), full_matrices=False)
    kept = scales > 1e-6 * scales[0]
    whiten = axes[kept].T / scales[kept]
    own, others = (second - center) @ whiten, (ends[is_usable] - center) @ whiten
    is_far = (others**2).sum(axis=1) > APART * (own**2).sum(axis=1).max()
    among = cdist(own, own, "sqeuclidean")
    np.fill_diagonal(among, np.inf)
    is_apart = cdist(others, own, "sqeuclidean").min(axis=1) > APART * among.min(axis=1).max()
    is_usable[is_usable] = is_far & is_apart
    return is_usable
