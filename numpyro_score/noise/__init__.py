"""Noise processes `x_t = alpha(t) x_0 + sigma(t) z`, conversions, ladders of noise levels."""

from numpyro_score.noise.base import NoiseProcess, solve_time
from numpyro_score.noise.convert import (
    denoised_to_score,
    noise_to_score,
    score_to_denoised,
    score_to_noise,
    score_to_velocity,
    velocity_to_score,
)
from numpyro_score.noise.discrete import DiscreteVP, ddpm_betas
from numpyro_score.noise.exploding import VE
from numpyro_score.noise.ladder import (
    NoiseLadder,
    geometric_ladder,
    ladder_from_data,
    ladder_ratio,
    largest_distance,
)
from numpyro_score.noise.preserving import OU, VP, CosineVP, SubVP

__all__ = [
    "OU",
    "VE",
    "VP",
    "CosineVP",
    "DiscreteVP",
    "NoiseLadder",
    "NoiseProcess",
    "SubVP",
    "ddpm_betas",
    "denoised_to_score",
    "geometric_ladder",
    "ladder_from_data",
    "ladder_ratio",
    "largest_distance",
    "noise_to_score",
    "score_to_denoised",
    "score_to_noise",
    "score_to_velocity",
    "solve_time",
    "velocity_to_score",
]
