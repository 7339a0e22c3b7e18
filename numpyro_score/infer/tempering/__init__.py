"""Annealing and tempering from a wide law: finding modes, and kernels that live on it."""

from numpyro_score.infer.tempering.parallel import ParallelTempering
from numpyro_score.infer.tempering.smc import TemperedSMC

__all__ = ["ParallelTempering", "TemperedSMC"]
