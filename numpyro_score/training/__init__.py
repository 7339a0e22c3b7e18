"""Training of scores and energies: losses, fitting a model to data, files of trained models."""

from numpyro_score.training.fit import FitResult, fit
from numpyro_score.training.fit_consistency import fit_consistency
from numpyro_score.training.fit_score import fit_score
from numpyro_score.training.io import load, save
from numpyro_score.training.optimizer import cosine_adam

__all__ = ["FitResult", "cosine_adam", "fit", "fit_consistency", "fit_score", "load", "save"]
