"""Energies trained by contrastive divergence: a mixture in the plane, and handwritten digits.

    python examples/contrastive_divergence.py [digits.png]

The mixture's densities are compared on a grid with the true one: total variation and
Kullback-Leibler divergence, and the mass that falls to each mode. The digits (8 x 8, scikit-learn)
are drawn by chains that start from noise, and a classifier trained on real ones labels them.
"""

import sys

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from numpyro_score.kernels import mala
from numpyro_score.scores import EnergyNet
from numpyro_score.training import cosine_adam, fit
from numpyro_score.training.losses import (
    ContrastiveDivergence,
    MaximumLikelihood,
    PersistentContrastiveDivergence,
)
from numpyro_score.training.losses.negative_phase import Chains

MEANS = np.array([[-2.0, -2.0], [2.0, 2.0], [-2.0, 2.0], [2.0, -2.0]])
WEIGHTS = np.array([0.1, 0.2, 0.3, 0.4])
SD = 0.7
STEP = {"step_size": 0.1}
LOSSES = {
    "CD-1": (ContrastiveDivergence(mala, STEP, 1), 2000),
    "CD-10": (ContrastiveDivergence(mala, STEP, 10), 2000),
    "PCD-10": (PersistentContrastiveDivergence(mala, STEP, 10, restart_rate=0.05), 2000),
    "likelihood": (MaximumLikelihood(mala, STEP, 100), 1000),
}


def mixture(name):
    """Total variation, Kullback-Leibler divergence and mass of each mode of a trained energy."""
    loss, num_steps = LOSSES[name]
    rng = np.random.default_rng(0)
    data = MEANS[rng.choice(4, 5000, p=WEIGHTS)] + SD * rng.normal(size=(5000, 2))
    model, _ = fit(
        EnergyNet(2, width=64, depth=2, data=data, rng_key=jax.random.key(1)),
        data,
        loss,
        rng_key=jax.random.key(2),
        num_steps=num_steps,
        batch_size=256,
        validation_fraction=0.0,
        progress=False,
    )
    line = np.linspace(-6.0, 6.0, 241)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    found = np.asarray(jax.nn.softmax(jax.jit(jax.vmap(model.logdensity))(jnp.asarray(grid))))
    away = np.sum((grid[:, None] - MEANS) ** 2, axis=-1)
    true = np.exp(-away / (2 * SD**2)) @ WEIGHTS
    true /= true.sum()
    masses = [found[away.argmin(axis=1) == mode].sum() for mode in range(4)]
    return np.abs(found - true).sum() / 2, np.sum(true * np.log(true / found)), masses


def digits(num_steps=2000, num_chains=100):
    """Digits drawn from noise `(chain, 8, 8)`, and a classifier's probabilities `(chain, 10)`."""
    rng = np.random.default_rng(0)
    images, labels = load_digits(return_X_y=True)
    data = images / 8 - 1 + 0.1 * rng.normal(size=images.shape)
    kernel = {"step_size": 0.01}
    model, _ = fit(
        EnergyNet(64, width=256, depth=2, rng_key=jax.random.key(1)),
        data,
        PersistentContrastiveDivergence(mala, kernel, 10, restart_rate=0.02, penalty=1e-3),
        rng_key=jax.random.key(2),
        num_steps=num_steps,
        batch_size=128,
        optimizer=cosine_adam(1e-3),
        validation_fraction=0.0,
        progress=False,
    )
    start = data.mean(axis=0) + 2 * data.std(axis=0) * rng.normal(size=(num_chains, 64))
    chains = Chains(mala, kernel, 3000)
    run = jax.jit(lambda start, rng_key: chains.run(model, start, rng_key))
    drawn = np.asarray(run(jnp.asarray(start), jax.random.key(3)))
    classifier = MLPClassifier((128,), max_iter=300, random_state=0).fit(data, labels)
    return drawn.reshape(-1, 8, 8), classifier.predict_proba(drawn)


def main():
    """Print the table, draw the digits."""
    print(f"{'loss':>12} {'TV':>6} {'KL':>6}  mass of modes, truly {WEIGHTS}")
    for name in LOSSES:
        variation, divergence, masses = mixture(name)
        print(f"{name:>12} {variation:6.3f} {divergence:6.3f}  {np.round(masses, 3)}", flush=True)

    drawn, probabilities = digits()
    counts = np.bincount(probabilities.argmax(axis=1), minlength=10)
    print(f"\ndigits from noise: {counts} of each class", end="")
    print(f", mean confidence {probabilities.max(axis=1).mean():.2f}")
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    path = sys.argv[1] if len(sys.argv) > 1 else "digits.png"
    figure, axes = plt.subplots(10, 10, figsize=(5, 5))
    for axis, image in zip(axes.flat, drawn, strict=True):
        axis.imshow(image, cmap="gray_r", vmin=-1, vmax=1)
        axis.axis("off")
    figure.savefig(path)
    print(f"The picture is at {path}")


if __name__ == "__main__":
    main()
