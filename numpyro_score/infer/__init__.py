"""Kernels in NumPyro's `MCMCKernel` protocol: one adapter, one thin class a kernel."""

from numpyro_score.infer.blackjax import BlackJAXKernel
from numpyro_score.infer.global_local import GlobalLocal
from numpyro_score.infer.langevin import MALA, ULA, ScoreMetropolis, dense_mala
from numpyro_score.infer.localization import StochasticLocalization
from numpyro_score.infer.metropolis import (
    IndependenceMetropolis,
    MetropolisHastings,
    RandomWalkMetropolis,
)
from numpyro_score.infer.score_samplers import AnnealedLangevin, ProbabilityFlow, ReverseSDE
from numpyro_score.infer.tempering import ParallelTempering, TemperedSMC

__all__ = [
    "MALA",
    "ULA",
    "AnnealedLangevin",
    "BlackJAXKernel",
    "GlobalLocal",
    "IndependenceMetropolis",
    "MetropolisHastings",
    "ParallelTempering",
    "ProbabilityFlow",
    "RandomWalkMetropolis",
    "ReverseSDE",
    "ScoreMetropolis",
    "StochasticLocalization",
    "TemperedSMC",
    "dense_mala",
]
