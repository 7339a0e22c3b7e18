from .blackjax import BlackJAXKernel
from .global_local import GlobalLocal
from .langevin import MALA, ULA, ScoreMetropolis, dense_mala
from .localization import StochasticLocalization
from .metropolis import (
    IndependenceMetropolis,
    MetropolisHastings,
    RandomWalkMetropolis,
)
from .score_samplers import AnnealedLangevin, ProbabilityFlow, ReverseSDE
from .tempering import ParallelTempering, TemperedSMC

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
