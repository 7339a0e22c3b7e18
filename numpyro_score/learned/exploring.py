"""Exploring a target by tempered SMC, checked and timed: where every kind of learning begins."""

import time

import numpy as np

from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.kernels.tempered_smc import TemperedParticles, tempered_smc
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.progress import ProgressCallback
from numpyro_score.types import RngKey


def run_exploration(
    logdensity_fn: FlatLogDensity,
    reference: IndependentProposal,
    rng_key: RngKey,
    num_particles: int,
    progress: ProgressCallback | None = None,
) -> tuple[TemperedParticles, float]:
    """Particles of the target, and the seconds that it took; outside of compiled code.

    Parameters
    ----------
    logdensity_fn, reference, rng_key, num_particles
        As in `numpyro_score.kernels.tempered_smc.tempered_smc`.
    progress
        Called with the phase.

    Raises
    ------
    ValueError
        If the target's temperature was not reached, or a particle is not finite.
    """
    if progress is not None:
        progress("exploring", 0, 1)
    begin = time.perf_counter()
    explored = tempered_smc(logdensity_fn, reference, rng_key, num_particles)
    inverse_temperature = float(explored.inverse_temperature)
    if inverse_temperature < 1 or not np.isfinite(np.asarray(explored.particles)).all():
        raise ValueError(
            f"exploration stopped at inverse temperature {inverse_temperature:.3g} of 1: its "
            "reference distribution is too far from the target. Give reference=, a distribution "
            "that is nearer to the target and still covers it."
        )
    return explored, time.perf_counter() - begin
