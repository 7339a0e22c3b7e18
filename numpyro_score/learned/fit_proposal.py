"""From a target to a learned proposal: explore, learn, record, and warn if it is poor."""

import time
from collections.abc import Callable
from typing import Any

import jax

from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.learned.adapting import adapt_mixture, is_sufficient
from numpyro_score.learned.evidence import combine
from numpyro_score.learned.explore_regions import explore_regions
from numpyro_score.learned.fitted import Fitted
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.learned.rounds import Learned
from numpyro_score.learned.training import MakeProposal, default_proposal, train_proposal
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
        and a network is trained only if its jumps are not accepted often enough.
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
    key_explore, key_train = jax.random.split(rng_key)
    callback = None if isinstance(progress, bool) else progress
    explored, seconds_explore = explore_regions(
        logdensity_fn, reference, key_explore, num_particles, callback
    )
    begin = time.perf_counter()
    tried: list[Learned] = []
    if make_proposal is None:
        tried.append(
            adapt_mixture(logdensity_fn, explored, jax.random.fold_in(key_train, 0), callback)
        )
    if not any(map(is_sufficient, tried)):
        tried.append(
            train_proposal(
                logdensity_fn,
                explored,
                key_train,
                network=network,
                make_proposal=make_proposal or default_proposal(explored.particles.shape[1]),
                rounds=rounds,
                progress=progress,
            )
        )
    best = max(tried, key=lambda learned: learned.quality.acceptance_rate)
    found = best.quality
    fitted = Fitted(
        best.proposal,
        best.particles,
        found,
        tuple(one.quality.acceptance_rate for learned in tried for one in learned.rounds),
        explored.num_grad + sum(learned.num_grad for learned in tried),
        explored.num_stages,
        {"explore": seconds_explore, "train": time.perf_counter() - begin},
        template,
        combine(
            found,
            explored.log_evidences,
            explored.log_evidence_errors,
            explored.first_log_evidence,
        ),
        explored.counts,
        explored.share_errors,
        best.stopped,
        2 * best.rounds[best.best].loss / best.proposal.dim,
    )
    fitted.warn_if_poor()
    return fitted
