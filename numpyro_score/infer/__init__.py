"""Kernels in NumPyro's `MCMCKernel` protocol: one adapter, one thin class a kernel."""

from numpyro_score.infer.blackjax import BlackJAXKernel
from numpyro_score.infer.langevin import MALA, ULA, dense_mala
from numpyro_score.infer.metropolis import (
    IndependenceMetropolis,
    MetropolisHastings,
    RandomWalkMetropolis,
)

__all__ = [
    "MALA",
    "ULA",
    "BlackJAXKernel",
    "IndependenceMetropolis",
    "MetropolisHastings",
    "RandomWalkMetropolis",
    "dense_mala",
]
