"""Scores at every noise level: networks, formulas and Monte Carlo, each a plain callable pytree."""

from numpyro_score.scores.base import Constant, ScoreModel, trainable
from numpyro_score.scores.features import drop_condition
from numpyro_score.scores.function import FunctionScore
from numpyro_score.scores.mlp import ResidualMLP, TwoLayer
from numpyro_score.scores.network import ScoreNetwork, StaticScore
from numpyro_score.scores.predictions import (
    PredictDenoised,
    Prediction,
    PredictNoise,
    PredictScore,
    PredictVelocity,
)
from numpyro_score.scores.standardisation import Standardisation

__all__ = [
    "Constant",
    "FunctionScore",
    "PredictDenoised",
    "PredictNoise",
    "PredictScore",
    "PredictVelocity",
    "Prediction",
    "ResidualMLP",
    "ScoreModel",
    "ScoreNetwork",
    "Standardisation",
    "StaticScore",
    "TwoLayer",
    "drop_condition",
    "trainable",
]
