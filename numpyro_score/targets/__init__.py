"""Distributions to sample: densities and NumPyro models with known expectations."""

from numpyro_score.bindings import bind_submodules
from numpyro_score.targets.base import DensityTarget, ModelTarget, Target
from numpyro_score.targets.curved import rosenbrock
from numpyro_score.targets.expectation import Expectation, moments
from numpyro_score.targets.gaussian import ill_gaussian, ill_gaussian_rotated, std_gaussian
from numpyro_score.targets.hierarchical import eight_schools, eight_schools_centered
from numpyro_score.targets.item_response import item_response
from numpyro_score.targets.mixture import mixture_1d, two_modes
from numpyro_score.targets.multimodal import (
    double_wells,
    forty_modes,
    narrow_modes,
    random_modes,
    ring_of_modes,
)
from numpyro_score.targets.point_process import cox_process
from numpyro_score.targets.regression import breast_cancer
from numpyro_score.targets.shaped import banana, funnel
from numpyro_score.targets.skewed import gumbel
from numpyro_score.targets.time_series import random_walk_with_gap
from numpyro_score.targets.volatility import stochastic_volatility

__all__ = [
    "DensityTarget",
    "Expectation",
    "ModelTarget",
    "Target",
    "banana",
    "breast_cancer",
    "cox_process",
    "double_wells",
    "eight_schools",
    "eight_schools_centered",
    "forty_modes",
    "funnel",
    "gumbel",
    "ill_gaussian",
    "ill_gaussian_rotated",
    "item_response",
    "mixture_1d",
    "moments",
    "narrow_modes",
    "random_modes",
    "random_walk_with_gap",
    "ring_of_modes",
    "rosenbrock",
    "std_gaussian",
    "stochastic_volatility",
    "two_modes",
]

# Of all rooms that import NumPyro this is the lowest.
bind_submodules()
