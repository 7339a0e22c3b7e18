"""Scores at every noise level: networks, formulas and Monte Carlo, each a plain callable pytree."""

from numpyro_score.scores.analytic import (
    empirical_score,
    fitted_gaussian,
    gaussian_score,
    target_score,
)
from numpyro_score.scores.base import Constant, ScoreModel, trainable
from numpyro_score.scores.consistency import ConsistencyModel
from numpyro_score.scores.conv import ConvNet
from numpyro_score.scores.energy import EnergyNet, EnergyScore
from numpyro_score.scores.features import drop_condition
from numpyro_score.scores.function import FunctionScore
from numpyro_score.scores.gaussian_mixture import GaussianMixtureScore
from numpyro_score.scores.importance import ImportanceScore
from numpyro_score.scores.inner_mala import MalaScore
from numpyro_score.scores.kernel_density import KernelDensity, silverman_bandwidth
from numpyro_score.scores.mixture import Mixture
from numpyro_score.scores.mlp import ResidualMLP, TwoLayer
from numpyro_score.scores.network import ScoreNetwork, StaticScore
from numpyro_score.scores.posterior import Reference
from numpyro_score.scores.predictions import (
    PredictDenoised,
    Prediction,
    PredictNoise,
    PredictScore,
    PredictVelocity,
)
from numpyro_score.scores.standardisation import Standardisation
from numpyro_score.scores.whitening import WhitenedScore, Whitening

__all__ = [
    "ConsistencyModel",
    "Constant",
    "ConvNet",
    "EnergyNet",
    "EnergyScore",
    "FunctionScore",
    "GaussianMixtureScore",
    "ImportanceScore",
    "KernelDensity",
    "MalaScore",
    "Mixture",
    "PredictDenoised",
    "PredictNoise",
    "PredictScore",
    "PredictVelocity",
    "Prediction",
    "Reference",
    "ResidualMLP",
    "ScoreModel",
    "ScoreNetwork",
    "Standardisation",
    "StaticScore",
    "TwoLayer",
    "WhitenedScore",
    "Whitening",
    "drop_condition",
    "empirical_score",
    "fitted_gaussian",
    "gaussian_score",
    "silverman_bandwidth",
    "target_score",
    "trainable",
]
