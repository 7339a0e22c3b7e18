"""Exploring a target so that no mode is lost: annealed particles, dispersed chains, and both again.

1. Particles are annealed from the reference by tempered SMC, and short local chains start all over
   it. The first weigh modes that intermediate temperatures connect, the second find modes that
   annealing loses.
2. What both found is clustered, and a mixture of Gaussians laid over it (`regions`).

These two are `find_modes`; often the mixture can be adapted and nothing else is needed. Otherwise
`anneal_regions`:

3. Two independent sets of particles are annealed from that mixture to the target. Their weights and
   evidence need no training, and their disagreement says how far they can be trusted.
4. A region that both annealings lost is not given up: what found it takes the place of a few
   particles, and training finds its weight.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.kernels.tempered_smc import TemperedParticles, move_particles, tempered_smc
from numpyro_score.learned.arrived import usable
from numpyro_score.learned.dispersed import run_dispersed_chains
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.learned.regions import LEAST_SHARE, SMALLEST, Regions, assign, find_regions
from numpyro_score.progress import ProgressCallback
from numpyro_score.types import RngKey

MOVES_OF_LOST = 50
"""MALA steps of the points that stand in for a region which both annealings lost."""


class Found(NamedTuple):
    """Where the target has modes.

    Attributes
    ----------
    starts
        `(num, dim)` annealed particles and end points of chains that have arrived.
    logdensity
        `(num,)` of the target, there.
    regions
        Their clusters.
    counts
        `(3, regions + 1)`: annealed particles, chains from draws of the reference, and chains from
        further out, in every region; the last column is outside of all.
    log_evidence
        Of the annealing, with its standard error; -inf where it did not arrive.
    num_grad, num_stages
        Gradients of the target, and temperatures.
    """

    starts: Float[np.ndarray, "num dim"]
    logdensity: Float[np.ndarray, " num"]
    regions: Regions
    counts: Float[np.ndarray, "3 regions"]
    log_evidence: tuple[float, float]
    num_grad: int
    num_stages: int


class Explored(NamedTuple):
    """Particles of the target from two independent annealings of its regions.

    Attributes
    ----------
    particles
        `(num, dim)`, of equal weight, except for those of regions that both annealings lost.
    step_size, variance
        Of MALA at the target.
    counts
        `(2, regions + 1)`: particles of both halves in every region.
    share_errors
        `(2, regions + 1)`: standard errors of the shares of both halves.
    log_evidences, log_evidence_errors
        Of both halves.
    num_grad, num_stages
        Gradients of the target, and temperatures.
    """

    particles: Float[Array, "num dim"]
    step_size: Float[Array, ""]
    variance: Float[Array, " dim"]
    counts: Float[np.ndarray, "2 regions"]
    share_errors: Float[np.ndarray, "2 regions"]
    log_evidences: Float[np.ndarray, " 2"]
    log_evidence_errors: Float[np.ndarray, " 2"]
    num_grad: int
    num_stages: int


def _has_arrived(found: TemperedParticles) -> bool:
    has_cooled = float(found.inverse_temperature) >= 1
    return has_cooled and bool(np.isfinite(np.asarray(found.particles)).all())


def find_modes(
    logdensity_fn: FlatLogDensity,
    reference: IndependentProposal,
    rng_key: RngKey,
    num_particles: int,
    progress: ProgressCallback | None = None,
) -> Found:
    """Anneal particles and run dispersed chains, outside of compiled code.

    Parameters
    ----------
    logdensity_fn
        Flat position -> log density.
    reference
        Where the exploration starts.
    rng_key
        One key.
    num_particles
        A quarter as many particles are annealed, and as many chains run.
    progress
        Called with the phase.

    Raises
    ------
    ValueError
        If no particle or chain arrived at the target.
    """
    key_anneal, key_chains = jax.random.split(rng_key)
    num = max(num_particles // 4, 16)

    def report(done: int) -> None:
        if progress is not None:
            progress("exploring", done, 2)

    report(0)
    annealed = tempered_smc(logdensity_fn, reference, key_anneal, num)
    report(1)
    chains = run_dispersed_chains(logdensity_fn, reference, key_chains, num)
    report(2)
    # annealing that got stuck leaves the search to the chains
    has_arrived = _has_arrived(annealed)
    groups = [np.asarray(annealed.particles)[: num if has_arrived else 0]]
    positions, is_stretched = np.asarray(chains.positions), np.asarray(chains.is_stretched)
    groups += [positions[~is_stretched], positions[is_stretched]]
    found, logdensity, gradients = usable(logdensity_fn, groups)
    if not sum(map(len, found)):
        raise ValueError(_message(float(annealed.inverse_temperature)))
    starts = np.concatenate(found)
    regions = find_regions(starts, logdensity, gradients)
    evidence = float(annealed.log_evidence), float(annealed.log_evidence_variance) ** 0.5
    return Found(
        starts,
        logdensity,
        regions,
        count_regions(regions, found),
        evidence if has_arrived else (-np.inf, 0.0),
        annealed.num_grad + chains.num_grad + sum(map(len, groups)),
        int(annealed.num_stages),
    )


def anneal_regions(
    logdensity_fn: FlatLogDensity,
    found: Found,
    rng_key: RngKey,
    num_particles: int,
    progress: ProgressCallback | None = None,
) -> Explored:
    """Two independent annealings from the mixture over the regions, outside of compiled code.

    Parameters
    ----------
    logdensity_fn
        Flat position -> log density.
    found
        Where there are modes.
    rng_key
        One key.
    num_particles
        Particles of both together.
    progress
        Called with the phase.

    Raises
    ------
    ValueError
        If an annealing did not reach the target's temperature, or a particle is not finite.
    """
    *key_halves, key_lost = jax.random.split(rng_key, 3)
    mixture, halves = found.regions.mixture.as_independent(), []
    for done, key in enumerate(key_halves):
        if progress is not None:
            progress("annealing regions", done, len(key_halves))
        halves.append(tempered_smc(logdensity_fn, mixture, key, max(num_particles // 2, 16)))
        if not _has_arrived(halves[-1]):
            raise ValueError(_message(float(halves[-1].inverse_temperature)))
    num_grad = sum(half.num_grad for half in halves)
    particles = jnp.concatenate([half.particles for half in halves])
    particles, places = with_lost(key_lost, found.regions, found.starts, particles)
    if places.size:
        # copies of a few points become draws of their region
        lost, step_size = particles[places], halves[1].step_size
        moved, _, _ = move_particles(
            logdensity_fn, key_lost, lost, step_size, halves[1].variance, MOVES_OF_LOST
        )
        particles = particles.at[places].set(moved)
        num_grad += places.size * (MOVES_OF_LOST + 1)
    return Explored(
        particles,
        halves[1].step_size,
        halves[1].variance,
        count_regions(found.regions, [np.asarray(half.particles) for half in halves]),
        np.stack([_share_errors(found.regions, half) for half in halves]),
        np.array([float(half.log_evidence) for half in halves]),
        np.sqrt([float(half.log_evidence_variance) for half in halves]),
        num_grad,
        sum(int(half.num_stages) for half in halves),
    )


def with_lost(
    rng_key: RngKey,
    regions: Regions,
    starts: Float[np.ndarray, "start dim"],
    particles: Float[Array, "num dim"],
) -> tuple[Float[Array, "num dim"], Int[np.ndarray, " place"]]:
    """Particles, with some in every region that enough starts found; and the places of those.

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
    return jnp.asarray(kept), places[: len(lost)].reshape(-1)


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


def count_regions(regions: Regions, groups: list[np.ndarray]) -> Float[np.ndarray, "group regions"]:
    """Points of every group in every region, and outside of all in the last column."""
    which = np.asarray(assign(regions.mixture, jnp.asarray(np.concatenate(groups))))
    parts = np.split(which, np.cumsum([len(group) for group in groups])[:-1])
    return np.stack([np.bincount(part, minlength=regions.num + 1) for part in parts]).astype(float)


def _message(inverse_temperature: float) -> str:
    return (
        f"exploration stopped at inverse temperature {inverse_temperature:.3g} of 1: what it "
        "starts from is too far from the target. Give reference=, a distribution that is nearer "
        "and still covers the target."
    )
