"""From a target to a learned proposal: explore, learn, record, and warn if it is poor."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.learned.adapting import SUFFICIENT, adapt_mixture
from numpyro_score.learned.adapting_product import adapt_product
from numpyro_score.learned.evidence import Evidence, combine
from numpyro_score.learned.explore_regions import Explored, Found, anneal_regions, find_modes
from numpyro_score.learned.fitted import Fitted
from numpyro_score.learned.missed import with_missed
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.learned.region_record import RegionRecord
from numpyro_score.learned.rounds import GOOD, Learned
from numpyro_score.learned.training import MakeProposal, default_proposal, train_proposal
from numpyro_score.learned.weighted import suffices
from numpyro_score.progress import ProgressCallback
from numpyro_score.types import Position, RngKey


def fit_proposal(
    logdensity_fn: FlatLogDensity,
    reference: IndependentProposal,
    rng_key: RngKey,
    template: Position,
    *,
    num_particles: int,
    network: Callable[[int, RngKey], Any],
    make_proposal: MakeProposal | None,
    rounds: int,
    progress: bool | ProgressCallback,
) -> Fitted:
    """Explore, and learn a proposal from the particles and from its own draws.

    Parameters
    ----------
    logdensity_fn
        Flat position -> log density.
    reference
        Where the exploration starts.
    rng_key
        One key.
    template
        A position of the model's structure and shapes; its values are ignored.
    num_particles
        Particles of the exploration.
    network, make_proposal, rounds
        As in `train_proposal`. Without `make_proposal` a mixture of Gaussians is adapted first,
        then a product of independent coordinates, and a network is trained only if jumps of
        neither are accepted often enough.
    progress
        Whether to show progress bars of the trainings, or a function to call in their place.

    Raises
    ------
    ValueError
        If the exploration does not arrive at the target.

    Warns
    -----
    UserWarning
        As of `Fitted.warn_if_poor`.
    """
    key_explore, key_anneal, key_adapt, key_missed, key_train = jax.random.split(rng_key, 5)
    callback = None if isinstance(progress, bool) else progress
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(phase: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        seconds[phase] = time.perf_counter() - begin

    with timed("explore"):
        modes = find_modes(logdensity_fn, reference, key_explore, num_particles, callback)
    explored: Explored | None = None
    tried: list[Learned] = []

    further = partial(jax.random.fold_in, key_adapt)

    def adapt(family: Callable[..., Learned], particles: Any, key: RngKey, phase: str) -> bool:
        """Whether what is adapted is as good as a network could be."""
        with timed(phase):
            given = logdensity_fn, modes, jnp.asarray(particles), key, num_particles
            tried.append(family(*given, callback))
        return suffices(tried[-1], GOOD)

    is_good = False
    if make_proposal is None:
        is_good = adapt(adapt_mixture, modes.starts, key_adapt, "adapt")
        num_regions = modes.regions.num
        with timed("look_again"):
            modes = with_missed(logdensity_fn, modes, tried[0], key_missed)
        if modes.regions.num > num_regions:
            # whatever its weights say, it lacks a mode
            tried[0] = tried[0]._replace(covers=False)
            is_good = is_good and adapt(adapt_mixture, modes.starts, further(1), "adapt_more")
        is_good = is_good or adapt(adapt_product, modes.starts, further(2), "adapt_product")
    if not is_good:
        with timed("anneal"):
            explored = anneal_regions(logdensity_fn, modes, key_anneal, num_particles, callback)
        if make_proposal is None:
            adapt(adapt_mixture, explored.particles, further(0), "adapt_again")
            if not any(suffices(one, SUFFICIENT) for one in tried):
                adapt(adapt_product, explored.particles, further(3), "adapt_product_again")
        if not any(suffices(one, SUFFICIENT) for one in tried):
            with timed("train"):
                trained = train_proposal(
                    logdensity_fn,
                    modes.regions.mixture,
                    explored,
                    key_train,
                    network=network,
                    make_proposal=make_proposal or default_proposal(modes.starts.shape[1]),
                    rounds=rounds,
                    progress=progress,
                )
            tried.append(trained)
    sound = [learned for learned in tried if learned.covers]
    best = max(sound, key=lambda learned: learned.quality.acceptance_rate)
    num_grad = modes.num_grad + (0 if explored is None else explored.num_grad)
    fitted = Fitted(
        best.proposal,
        best.particles,
        best.quality,
        tuple(one.quality.acceptance_rate for learned in tried for one in learned.rounds),
        num_grad + sum(learned.num_grad for learned in tried),
        modes.num_stages + (0 if explored is None else explored.num_stages),
        seconds,
        template,
        _evidence(best, modes, explored),
        _record(best, modes, explored),
        best.stopped,
        2 * best.rounds[best.best].loss / best.proposal.dim,
    )
    fitted.warn_if_poor()
    return fitted


def _evidence(best: Learned, modes: Found, explored: Explored | None) -> Evidence:
    none = np.zeros(0)
    if explored is None:
        return combine(best.quality, none, none, modes.log_evidence)
    annealed = explored.log_evidences, explored.log_evidence_errors
    return combine(best.quality, *annealed, modes.log_evidence)


def _record(best: Learned, modes: Found, explored: Explored | None) -> RegionRecord:
    if explored is None:
        return RegionRecord(modes.counts, best.rounds[best.best].shares)
    weights = explored.counts.sum(axis=0) / explored.counts.sum()
    return RegionRecord(modes.counts, weights, explored.counts, explored.share_errors)
