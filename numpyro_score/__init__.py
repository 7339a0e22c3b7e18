"""Metropolis-Hastings, Langevin and learned-score kernels for NumPyro and BlackJAX."""

from numpyro_score.bindings import bind_submodules
from numpyro_score.comparison import compare, load_comparison
from numpyro_score.infer import (
    MALA,
    ULA,
    AnnealedLangevin,
    BlackJAXKernel,
    GlobalLocal,
    IndependenceMetropolis,
    MetropolisHastings,
    ParallelTempering,
    ProbabilityFlow,
    RandomWalkMetropolis,
    ReverseSDE,
    ScoreMetropolis,
    StochasticLocalization,
    TemperedSMC,
)
from numpyro_score.kernels import (
    global_local,
    independence,
    mala,
    metropolis_hastings,
    parallel_tempering,
    random_walk,
    score_metropolis,
    ula,
)
from numpyro_score.report import write_report
from numpyro_score.run import sample

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
    "compare",
    "global_local",
    "independence",
    "load_comparison",
    "mala",
    "metropolis_hastings",
    "parallel_tempering",
    "random_walk",
    "sample",
    "score_metropolis",
    "ula",
    "write_report",
]

bind_submodules()
