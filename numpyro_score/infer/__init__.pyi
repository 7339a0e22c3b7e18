from .alternate import alternate
from .blackjax import BlackJAXKernel
from .consistency import Consistency
from .draw_space import DrawSpace
from .generalized import GHMC
from .global_local import GlobalLocal
from .independent import independent
from .langevin import MALA, ULA, UnderdampedLangevin, dense_mala
from .localization import StochasticLocalization
from .markov import markov
from .metropolis import (
    IndependenceMetropolis,
    MetropolisHastings,
    RandomWalkMetropolis,
)
from .microcanonical import MAMS
from .numpyro_kernel import NumPyroKernel
from .particles import particles
from .problem import Problem
from .sampler import Sampler, prepared
from .score_metropolis import ScoreMetropolis
from .score_samplers import AnnealedLangevin, ProbabilityFlow, ReverseSDE
from .tempering import ParallelTempering, TemperedSMC
from .warmup import PreconditionerOptions, WarmupOptions

__all__ = [
    "GHMC",
    "MALA",
    "MAMS",
    "ULA",
    "AnnealedLangevin",
    "BlackJAXKernel",
    "Consistency",
    "DrawSpace",
    "GlobalLocal",
    "IndependenceMetropolis",
    "MetropolisHastings",
    "NumPyroKernel",
    "ParallelTempering",
    "PreconditionerOptions",
    "ProbabilityFlow",
    "Problem",
    "RandomWalkMetropolis",
    "ReverseSDE",
    "Sampler",
    "ScoreMetropolis",
    "StochasticLocalization",
    "TemperedSMC",
    "UnderdampedLangevin",
    "WarmupOptions",
    "alternate",
    "dense_mala",
    "independent",
    "markov",
    "particles",
    "prepared",
]
