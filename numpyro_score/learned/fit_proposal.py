"""From a target to a trained proposal: explore, train, record, and warn if it is poor."""

import time
from collections.abc import Callable
from typing import Any

import jax

from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.learned.evidence import combine
from numpyro_score.learned.explore_regions import explore_regions
from numpyro_score.learned.fitted import Fitted
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.learned.training import MakeProposal, train_proposal
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
    make_proposal: MakeProposal,
    rounds: int,
    progress: bool | ProgressCallback,
) -> Fitted:
    """Explore, and train a proposal on the particles and on its own draws.

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
        As in `train_proposal`.
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
    trained = train_proposal(
        logdensity_fn,
        explored,
        key_train,
        network=network,
        make_proposal=make_proposal,
        rounds=rounds,
        progress=progress,
    )
    found = trained.rounds[trained.best].quality
    fitted = Fitted(
        trained.proposal,
        trained.particles,
        found,
        tuple(round_.quality.acceptance_rate for round_ in trained.rounds),
        explored.num_grad + trained.num_grad,
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
        trained.stopped,
        2 * trained.rounds[trained.best].loss / trained.proposal.dim,
    )
    fitted.warn_if_poor()
    return fitted
