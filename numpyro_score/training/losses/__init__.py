"""Losses that train a score or an energy: one file a loss, each `(model, batch, rng_key)`."""

from numpyro_score.training.losses.base import Loss, StatefulLoss
from numpyro_score.training.losses.consistency_distillation import ConsistencyDistillation
from numpyro_score.training.losses.consistency_training import ConsistencyTraining
from numpyro_score.training.losses.continuous import ContinuousDenoising
from numpyro_score.training.losses.contrastive import ContrastiveDivergence
from numpyro_score.training.losses.denoising import DenoisingScoreMatching
from numpyro_score.training.losses.explicit import ExplicitScoreMatching
from numpyro_score.training.losses.implicit import implicit_score_matching
from numpyro_score.training.losses.ladder import LadderDenoising
from numpyro_score.training.losses.levels import (
    EDMWeight,
    LogNormal,
    LogUniform,
    UniformTime,
    sigma_squared,
)
from numpyro_score.training.losses.likelihood import MaximumLikelihood, gaussian_start
from numpyro_score.training.losses.localization import LocalizationRegression
from numpyro_score.training.losses.persistent import PersistentContrastiveDivergence
from numpyro_score.training.losses.reconstruction import Reconstruction
from numpyro_score.training.losses.sliced import (
    ExplicitSlicedScoreMatching,
    SlicedScoreMatching,
    gaussian,
    rademacher,
    sphere,
)
from numpyro_score.training.losses.target_score import TargetScoreMatching, within_mode_covariance

__all__ = [
    "ConsistencyDistillation",
    "ConsistencyTraining",
    "ContinuousDenoising",
    "ContrastiveDivergence",
    "DenoisingScoreMatching",
    "EDMWeight",
    "ExplicitScoreMatching",
    "ExplicitSlicedScoreMatching",
    "LadderDenoising",
    "LocalizationRegression",
    "LogNormal",
    "LogUniform",
    "Loss",
    "MaximumLikelihood",
    "PersistentContrastiveDivergence",
    "Reconstruction",
    "SlicedScoreMatching",
    "StatefulLoss",
    "TargetScoreMatching",
    "UniformTime",
    "gaussian",
    "gaussian_start",
    "implicit_score_matching",
    "rademacher",
    "sigma_squared",
    "sphere",
    "within_mode_covariance",
]
