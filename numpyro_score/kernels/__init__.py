"""Markov kernels in BlackJAX's protocol; each leaves its target invariant, but for ULA."""

from numpyro_score.kernels.global_local import global_local
from numpyro_score.kernels.independence import independence
from numpyro_score.kernels.ladder import Ladder
from numpyro_score.kernels.langevin import ula
from numpyro_score.kernels.mala import mala
from numpyro_score.kernels.metropolis import metropolis_hastings
from numpyro_score.kernels.parallel_tempering import parallel_tempering
from numpyro_score.kernels.random_walk import random_walk
from numpyro_score.kernels.score_metropolis import score_metropolis

__all__ = [
    "Ladder",
    "global_local",
    "independence",
    "mala",
    "metropolis_hastings",
    "parallel_tempering",
    "random_walk",
    "score_metropolis",
    "ula",
]
