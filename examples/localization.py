"""
One network or two for unbalanced modes
=======================================

The distribution ``p N((1 - p) a, I) + (1 - p) N(-p a, I)`` has mean 0; here p = .7, ``|a|`` is
``2 sqrt(6)``, and there are 2,000 points in 128 dimensions. A denoiser that is trained on them
generates new points by stochastic localization, ``dY = E[x | Y_t] dt + dB``. A two-layer network
that is trained on all points gives the modes wrong weights, at any width. Two networks, one for
each side of the plane through the mean orthogonal to the leading eigenvector of the covariance,
sampled in proportion to the number of points on each side, separate the modes (Montanari 2023,
arXiv:2305.10690, section 5).
"""

import sys

import jax
import numpy as np
from matplotlib import pyplot as plt

from numpyro_score.localization import (
    IsotropicGaussian,
    MeanNetwork,
    geometric_times,
    localization,
)
from numpyro_score.scores import TwoLayer
from numpyro_score.training import cosine_adam, fit
from numpyro_score.training.losses import LocalizationRegression

SHORT = "--short" in sys.argv
DIM, NUM_STEPS, NUM_DRAWS = (16, 300, 300) if SHORT else (128, 2000, 2000)
WIDTHS = (16,) if SHORT else (2, 16, 64)
WEIGHT, LENGTH, NUM_POINTS = 0.7, 2 * np.sqrt(6.0), 2000
TIMES = (1e-3, 100.0)

# %%
# The data. A point belongs to the large mode if it is nearer to its centre.
rng = np.random.default_rng(0)
direction = np.ones(DIM) / np.sqrt(DIM)
is_large = rng.random((NUM_POINTS, 1)) < WEIGHT
centres = np.where(is_large, 1 - WEIGHT, -WEIGHT) * LENGTH * direction
points = (centres + rng.normal(size=(NUM_POINTS, DIM))).astype(np.float32)
process = IsotropicGaussian(DIM)


def share(x):
    """Share of points in the large mode."""
    return float((x @ direction > (0.5 - WEIGHT) * LENGTH).mean())


def one_plus(t):
    """Weight `1 + t`, since the error of the posterior mean decreases like 1 / (1 + t)."""
    return 1 + t


# %%
# A denoiser is trained by regression of x on ``Y_t`` at random times. It then replaces the
# posterior mean in a hundred steps of localization.
def trained(points, width, seed=0):
    """A two-layer network trained to be the posterior mean."""
    network = TwoLayer(DIM, width, rng_key=jax.random.key(seed))
    return fit(
        MeanNetwork(network, process, points),
        points,
        LocalizationRegression(process, *TIMES, weight=one_plus),
        rng_key=jax.random.key(seed + 1),
        num_steps=NUM_STEPS,
        batch_size=256,
        optimizer=cosine_adam(3e-3),
        progress=False,
    ).model


def draws(model, num, seed=2):
    """Points drawn by localization."""
    plan = localization(process, model, geometric_times(*TIMES, 100))
    return plan.sample(jax.random.key(seed), num).draws


# %%
# For two networks the points are divided by the sign of their projection on the leading
# eigenvector, which is along the line through the modes. The plane is at the mean and not at the
# minimum between the modes, so that about 7% of the large mode are on the other side.
leading = np.linalg.svd(points - points.mean(0), full_matrices=False)[2][0]
side = (points - points.mean(0)) @ leading > 0
num_first = round(NUM_DRAWS * float(side.mean()))

rows, shown = [], []
error = np.sqrt(WEIGHT * (1 - WEIGHT) / NUM_DRAWS)
print(
    f"share of the large mode: {share(points):.3f} of the points, truly {WEIGHT} (+- {error:.3f})"
)
print("width  one network  two networks")
for width in WIDTHS:
    one = draws(trained(points, width), NUM_DRAWS)
    two = np.concatenate(
        [
            draws(trained(points[side], width, 0), num_first, 5),
            draws(trained(points[~side], width, 3), NUM_DRAWS - num_first, 6),
        ]
    )
    rows.append((width, share(one), share(two)))
    shown.append((one @ direction, two @ direction))
    print("{:5d} {:12.3f} {:13.3f}".format(*rows[-1]), flush=True)

# %%
# The figure: projections on the line through the modes, with their exact distribution. One network
# leaves draws between the modes, or gives them wrong weights.
x = np.linspace(-8, 6, 300)
bells = np.exp(-((x[:, None] - np.array([1 - WEIGHT, -WEIGHT]) * LENGTH) ** 2) / 2)
exact = bells @ np.array([WEIGHT, 1 - WEIGHT]) / np.sqrt(2 * np.pi)
figure, axes = plt.subplots(
    2,
    len(rows),
    figsize=(3.2 * len(rows) + 1, 5),
    sharex=True,
    sharey=True,
    squeeze=False,
    layout="constrained",
)
for column, ((width, *shares), pair) in enumerate(zip(rows, shown, strict=True)):
    for axis, values, found, name in zip(
        axes[:, column], pair, shares, ("one network", "two networks"), strict=True
    ):
        axis.hist(values, bins=60, range=(-8, 6), density=True, color="#4477aa", label="draws")
        axis.plot(x, exact, color="#cc3311", label="exact")
        axis.set_title(f"{name}, width {width}: {found:.2f}", fontsize=9)
axes[0, 0].legend(fontsize=8)
for axis in axes[1]:
    axis.set_xlabel("projection on a")
for axis in axes[:, 0]:
    axis.set_ylabel("density")
figure.savefig("localization.png", dpi=120)
print("picture: localization.png")
