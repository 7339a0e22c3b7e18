"""Exploring a target so that no mode is lost: annealed particles, dispersed chains, and both again.

1. Particles are annealed from the reference by tempered SMC, and short local chains start all over
   it. The first weigh modes that intermediate temperatures connect, the second find modes that
   annealing loses.
2. What both found is clustered, and a mixture of Gaussians laid over it (`regions`).
3. Two independent sets of particles are annealed from that mixture to the target. Their weights and
   evidence need no training, and their disagreement says how far they can be trusted.
4. A region that both annealings lost is not given up: what found it takes the place of a few
   particles, and training finds its weight.
"""

import time
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.kernels.tempered_smc import TemperedParticles, tempered_smc
from numpyro_score.learned.dispersed import run_dispersed_chains
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.learned.regions import LEAST_SHARE, SMALLEST, Regions, assign, find_regions
from numpyro_score.progress import ProgressCallback
from numpyro_score.types import RngKey

FAR_BELOW = 10.0
"""A chain this many times the dimension below the median log density has not arrived."""


class Explored(NamedTuple):
    """Particles of the target from two independent annealings, and how they came about.

    Attributes
    ----------
    particles
        `(num, dim)`, of equal weight, except for those of regions that both annealings lost.
    step_size, variance
        Of MALA at the target.
    regions
        What was found.
    counts
        `(5, regions + 1)`: particles or chains in every region of the first annealing, of chains
        from draws of the reference, of chains from further out, and of the two halves.
    share_errors
        `(2, regions + 1)`: standard errors of the shares of both halves.
    log_evidences, log_evidence_errors
        Of both halves.
    first_log_evidence
        Of the first annealing, with its standard error; -inf where it did not arrive.
    num_grad, num_stages
        Gradients of the target, and temperatures, of all annealings.
    """

    particles: Float[Array, "num dim"]
    step_size: Float[Array, ""]
    variance: Float[Array, " dim"]
    regions: Regions
    counts: np.ndarray
    share_errors: np.ndarray
    log_evidences: np.ndarray
    log_evidence_errors: np.ndarray
    first_log_evidence: tuple[float, float]
    num_grad: int
    num_stages: int


@eqx.filter_jit
def evaluate(
    logdensity_fn: FlatLogDensity, x: Float[Array, "num dim"]
) -> tuple[Float[Array, " num"], Float[Array, "num dim"]]:
    """Log densities and their gradients."""
    return jax.vmap(jax.value_and_grad(logdensity_fn))(x)


def _has_arrived(found: TemperedParticles) -> bool:
    return bool(found.inverse_temperature >= 1) and bool(jnp.isfinite(found.particles).all())


def explore_regions(
    logdensity_fn: FlatLogDensity,
    reference: IndependentProposal,
    rng_key: RngKey,
    num_particles: int,
    progress: ProgressCallback | None = None,
) -> tuple[Explored, float]:
    """Explore, outside of compiled code; returns also the seconds that it took.

    Parameters
    ----------
    logdensity_fn
        Flat position -> log density.
    reference
        Where the exploration starts.
    rng_key
        One key.
    num_particles
        Particles at the end; a quarter as many are annealed, and as many chains run, first.
    progress
        Called with the phase.

    Raises
    ------
    ValueError
        If no annealing reached the target's temperature, or a particle is not finite.
    """
    begin = time.perf_counter()
    key_anneal, key_chains, *key_halves = jax.random.split(rng_key, 4)
    # beyond the four: where nothing is lost, draws are what they were without it
    key_lost = jax.random.fold_in(rng_key, 4)
    num_first, num_half = max(num_particles // 4, 16), max(num_particles // 2, 16)

    def report(done: int) -> None:
        if progress is not None:
            progress("exploring", done, 4)

    report(0)
    annealed = tempered_smc(logdensity_fn, reference, key_anneal, num_first)
    report(1)
    chains = run_dispersed_chains(logdensity_fn, reference, key_chains, num_first)
    report(2)
    # annealing that got stuck leaves the search to the chains
    has_arrived = _has_arrived(annealed)
    groups = [np.asarray(annealed.particles)[: num_first if has_arrived else 0]]
    positions, is_stretched = np.asarray(chains.positions), np.asarray(chains.is_stretched)
    groups += [positions[~is_stretched], positions[is_stretched]]
    found, logdensity, gradients = _usable(logdensity_fn, groups)
    if not sum(map(len, found)):
        raise ValueError(_message(float(annealed.inverse_temperature)))
    regions = find_regions(np.concatenate(found), logdensity, gradients)
    mixture = regions.mixture.as_independent()
    halves = []
    for done, key in enumerate(key_halves, 3):
        halves.append(tempered_smc(logdensity_fn, mixture, key, num_half))
        if not _has_arrived(halves[-1]):
            raise ValueError(_message(float(halves[-1].inverse_temperature)))
        report(done)
    starts = np.concatenate(found)
    found.extend(np.asarray(half.particles) for half in halves)
    num_grad = annealed.num_grad + chains.num_grad + sum(map(len, groups))
    explored = Explored(
        with_lost(key_lost, regions, starts, jnp.concatenate([h.particles for h in halves])),
        halves[1].step_size,
        halves[1].variance,
        regions,
        _count(regions, found),
        np.stack([_share_errors(regions, half) for half in halves]),
        np.array([float(half.log_evidence) for half in halves]),
        np.sqrt([float(half.log_evidence_variance) for half in halves]),
        _evidence_of(annealed) if has_arrived else (-np.inf, 0.0),
        num_grad + sum(half.num_grad for half in halves),
        int(annealed.num_stages) + sum(int(half.num_stages) for half in halves),
    )
    return explored, time.perf_counter() - begin


def with_lost(
    rng_key: RngKey,
    regions: Regions,
    starts: Float[np.ndarray, "start dim"],
    particles: Float[Array, "num dim"],
) -> Float[Array, "num dim"]:
    """Particles, with some in every region that enough starts found.

    Parameters
    ----------
    rng_key
        One key.
    regions
        What was found.
    starts
        What found it.
    particles
        Of the annealings, of which some give way to starts in regions that have none.
    """
    num = len(particles)
    of_starts = np.asarray(assign(regions.mixture, jnp.asarray(starts)))
    missing = np.ones(regions.num + 1, bool)
    missing[np.asarray(assign(regions.mixture, particles))] = False
    missing &= np.bincount(of_starts, minlength=regions.num + 1) >= SMALLEST
    # what no region covers is no region
    missing[-1] = False
    lost = np.flatnonzero(missing)
    rng = np.random.default_rng(np.asarray(jax.random.bits(rng_key, (2,))))
    few = max(int(LEAST_SHARE * num), 1)
    # a permutation, so that regions do not take each other's places
    places = rng.permutation(num)[: few * len(lost)].reshape(-1, few)
    kept = np.array(particles)
    for region, place in zip(lost, places, strict=False):
        kept[place] = rng.choice(starts[of_starts == region], few)
    return jnp.asarray(kept)


def _share_errors(regions: Regions, half: TemperedParticles) -> Float[np.ndarray, " regions"]:
    """Standard errors of the shares of regions: particles of one ancestor count together.

    As of the log evidence (Lee and Whiteley 2018, doi:10.1093/biomet/asy028): the sum over
    ancestors of the squared sums over their descendants.
    """
    which, num = np.asarray(assign(regions.mixture, half.particles)), len(half.particles)
    is_in = which[:, None] == np.arange(regions.num + 1)
    families = np.zeros((num, regions.num + 1))
    np.add.at(families, np.asarray(half.ancestors), is_in - is_in.mean(axis=0))
    return np.sqrt((families**2).sum(axis=0)) / num


def _evidence_of(found: TemperedParticles) -> tuple[float, float]:
    return float(found.log_evidence), float(found.log_evidence_variance) ** 0.5


def _count(regions: Regions, groups: list[np.ndarray]) -> Float[np.ndarray, "group regions"]:
    """Points of every group in every region, and outside of all in the last column."""
    which = np.asarray(assign(regions.mixture, jnp.asarray(np.concatenate(groups))))
    parts = np.split(which, np.cumsum([len(group) for group in groups])[:-1])
    return np.stack([np.bincount(part, minlength=regions.num + 1) for part in parts]).astype(float)


def _usable(
    logdensity_fn: FlatLogDensity, groups: list[np.ndarray]
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Of each group the points that have arrived; log densities and gradients of all of them."""
    x = jnp.asarray(np.concatenate(groups))
    logdensity, gradients = (np.asarray(values) for values in evaluate(logdensity_fn, x))
    is_finite = np.isfinite(logdensity) & np.isfinite(gradients).all(axis=1)
    parts = np.split(is_finite, np.cumsum([len(group) for group in groups])[:-1])
    values = np.split(logdensity, np.cumsum([len(group) for group in groups])[:-1])
    medians = [np.median(v[ok]) for v, ok in zip(values, parts, strict=True) if ok.any()]
    floor = max(medians, default=0.0) - FAR_BELOW * x.shape[1]
    keep = is_finite & (logdensity > floor)
    kept = np.split(keep, np.cumsum([len(group) for group in groups])[:-1])
    found = [group[ok] for group, ok in zip(groups, kept, strict=True)]
    return found, logdensity[keep], gradients[keep]


def _message(inverse_temperature: float) -> str:
    return (
        f"exploration stopped at inverse temperature {inverse_temperature:.3g} of 1: what it "
        "starts from is too far from the target. Give reference=, a distribution that is nearer "
        "and still covers the target."
    )
