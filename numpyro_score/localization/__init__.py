"""Stochastic localization: draws by simulating increasingly informative observations."""

from numpyro_score.localization.base import ObservationProcess
from numpyro_score.localization.discrete import BinaryChannel, Erasure
from numpyro_score.localization.gaussian import (
    AnisotropicGaussian,
    IsotropicGaussian,
    LinearObservation,
)
from numpyro_score.localization.inner import InnerChains, Population
from numpyro_score.localization.localizer import (
    LocalizationPath,
    Localized,
    Localizer,
    localization,
)
from numpyro_score.localization.means import (
    DenoiserMean,
    LocalizationScore,
    MeanFn,
    RunningMean,
    WeightedPoints,
)
from numpyro_score.localization.moves import gibbs_sweep, mala_move
from numpyro_score.localization.network import MeanNetwork
from numpyro_score.localization.poisson import PoissonCounts
from numpyro_score.localization.start import StartChoice, choose_start
from numpyro_score.localization.times import geometric_times

__all__ = [
    "AnisotropicGaussian",
    "BinaryChannel",
    "DenoiserMean",
    "Erasure",
    "InnerChains",
    "IsotropicGaussian",
    "LinearObservation",
    "LocalizationPath",
    "LocalizationScore",
    "Localized",
    "Localizer",
    "MeanFn",
    "MeanNetwork",
    "ObservationProcess",
    "PoissonCounts",
    "Population",
    "RunningMean",
    "StartChoice",
    "WeightedPoints",
    "choose_start",
    "geometric_times",
    "gibbs_sweep",
    "localization",
    "mala_move",
]
