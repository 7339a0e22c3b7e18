"""Finite-time samplers: from noise to data in a fixed number of steps, with a score."""

from numpyro_score.samplers.adaptive import Tolerance, adaptive
from numpyro_score.samplers.annealed import annealed_langevin, default_ladder, pick_step_size
from numpyro_score.samplers.conditioning import GuidedScore, PosteriorScore
from numpyro_score.samplers.consistency import consistency
from numpyro_score.samplers.corrector import corrected
from numpyro_score.samplers.density import LogProbEstimate
from numpyro_score.samplers.deterministic import ddim, dpm_solver, heun
from numpyro_score.samplers.flow import FlowSampler, probability_flow
from numpyro_score.samplers.gaussian_posterior import (
    GaussianPosteriorScore,
    spread_by_tweedie,
    spread_of_gaussian,
)
from numpyro_score.samplers.grids import TimeGrid, edm_times, quadratic_times, uniform_times
from numpyro_score.samplers.reverse_sde import reverse_sde
from numpyro_score.samplers.sampler import DiffusionSampler
from numpyro_score.samplers.steps import LinearSteps, Steps
from numpyro_score.samplers.stochastic import (
    Method,
    ancestral,
    dpm_solver_sde,
    euler_maruyama,
    reverse_diffusion,
)
from numpyro_score.samplers.walk import DiffusionInfo, DiffusionState, Trajectory

__all__ = [
    "DiffusionInfo",
    "DiffusionSampler",
    "DiffusionState",
    "FlowSampler",
    "GaussianPosteriorScore",
    "GuidedScore",
    "LinearSteps",
    "LogProbEstimate",
    "Method",
    "PosteriorScore",
    "Steps",
    "TimeGrid",
    "Tolerance",
    "Trajectory",
    "adaptive",
    "ancestral",
    "annealed_langevin",
    "consistency",
    "corrected",
    "ddim",
    "default_ladder",
    "dpm_solver",
    "dpm_solver_sde",
    "edm_times",
    "euler_maruyama",
    "heun",
    "pick_step_size",
    "probability_flow",
    "quadratic_times",
    "reverse_diffusion",
    "reverse_sde",
    "spread_by_tweedie",
    "spread_of_gaussian",
    "uniform_times",
]
