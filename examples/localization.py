"""Two modes in 128 dimensions by stochastic localization: one network, or one for each half.

    python examples/localization.py [picture.png] [--quick]

The law is `p N((1 - p) a, I) + (1 - p) N(-p a, I)`, of mean 0, with p = .7 and |a| = 2 sqrt(6), of
which 2,000 points are known. A two-layer denoiser that is trained on all of them gives the modes
wrong weights, whatever its width. Two of them, each trained on the points to one side of the plane
through 0 across the leading eigenvector of the points' covariance, drawn from in proportion to the
points on each side, give the right ones (Montanari 2023, arXiv:2305.10690, section 5).
"""

import sys

import jax
import matplotlib as mpl
import numpy as np

from numpyro_score.localization import (
    IsotropicGaussian,
    MeanNetwork,
    geometric_times,
    localization,
)
from numpyro_score.scores import TwoLayer
from numpyro_score.training import cosine_adam, fit
from numpyro_score.training.losses import LocalizationRegression

WEIGHT, LENGTH = 0.7, 2 * np.sqrt(6.0)
TIMES = (1e-3, 100.0)


def data(dim: int, num: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points `(num, dim)`, and the unit vector from mode to mode."""
    rng = np.random.default_rng(seed)
    direction = np.ones(dim) / np.sqrt(dim)
    is_large = rng.random((num, 1)) < WEIGHT
    centre = np.where(is_large, 1 - WEIGHT, -WEIGHT) * LENGTH * direction
    return (centre + rng.normal(size=(num, dim))).astype(np.float32), direction


def trained(points: np.ndarray, width: int, num_steps: int, seed: int = 0) -> MeanNetwork:
    """A two-layer network that has learned the posterior mean."""
    process = IsotropicGaussian(points.shape[1])
    network = TwoLayer(points.shape[1], width, rng_key=jax.random.key(seed))
    result = fit(
        MeanNetwork(network, process, points),
        points,
        # the error of the posterior mean falls as 1 / (1 + t)
        LocalizationRegression(process, *TIMES, weight=one_plus),
        rng_key=jax.random.key(seed + 1),
        num_steps=num_steps,
        batch_size=256,
        optimizer=cosine_adam(3e-3),
        progress=False,
    )
    return result.model


def one_plus(t: jax.Array) -> jax.Array:
    """`1 + t`."""
    return 1 + t


def draws(model: MeanNetwork, num: int, seed: int = 2) -> np.ndarray:
    """Points drawn by localization."""
    plan = localization(model.process, model, geometric_times(*TIMES, 100))
    return plan.sample(jax.random.key(seed), num).draws


def halves(points: np.ndarray, width: int, num_steps: int, num: int) -> np.ndarray:
    """Draws of two networks, one for each side of the points."""
    centred = points - points.mean(0)
    side = centred @ np.linalg.svd(centred, full_matrices=False)[2][0] > 0
    share = round(num * float(side.mean()))
    parts = [(points[side], share), (points[~side], num - share)]
    return np.concatenate(
        [
            draws(trained(part, width, num_steps, seed=3 * i), n, seed=5 + i)
            for i, (part, n) in enumerate(parts)
        ]
    )


def weight(points: np.ndarray, direction: np.ndarray) -> float:
    """Share of the points that are nearer to the large mode."""
    return float((points @ direction > (0.5 - WEIGHT) * LENGTH).mean())


def run(dim=128, num_points=2000, widths=(2, 16, 64, 256), num_steps=3000, num_draws=2000):
    """Rows `(width, weight by one network, by two)`, and what to draw a picture of."""
    points, direction = data(dim, num_points)
    print(f"points: weight of the large mode {weight(points, direction):.3f}, truly {WEIGHT}")
    rows, shown = [], []
    for width in widths:
        one = draws(trained(points, width, num_steps), num_draws)
        two = halves(points, width, num_steps, num_draws)
        rows.append((width, weight(one, direction), weight(two, direction)))
        shown.append((one @ direction, two @ direction))
        print("width {:4d}: one network {:.3f}, two {:.3f}".format(*rows[-1]), flush=True)
    return rows, shown


def picture(rows: list, shown: list, path: str) -> None:
    """Histograms of the projection on the line through the modes."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    grid = np.linspace(-8, 6, 300)
    centres = np.array([(1 - WEIGHT), -WEIGHT]) * LENGTH
    bells = np.exp(-((grid[:, None] - centres) ** 2) / 2) / np.sqrt(2 * np.pi)
    exact = bells @ np.array([WEIGHT, 1 - WEIGHT])
    figure, axes = plt.subplots(2, len(rows), figsize=(3 * len(rows), 5), sharex=True, sharey=True)
    for column, ((width, *weights), pair) in enumerate(zip(rows, shown, strict=True)):
        for row, (values, share) in enumerate(zip(pair, weights, strict=True)):
            axis = axes[row, column]
            axis.hist(values, bins=60, range=(-8, 6), density=True, color="#4477aa")
            axis.plot(grid, exact, color="#cc3311")
            name = ("one network", "two networks")[row]
            axis.set_title(f"{name}, width {width}: {share:.2f}", fontsize=9)
    for axis in axes[1]:
        axis.set_xlabel("projection on a")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    options = [argument for argument in sys.argv[1:] if argument.startswith("--")]
    paths = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    short = {"dim": 16, "widths": (16,), "num_steps": 300, "num_draws": 300}
    found = run(**(short if "--quick" in options else {}))
    if paths:
        picture(*found, paths[0])
