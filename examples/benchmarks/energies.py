"""Energies of a mixture in the plane, trained by contrastive divergence and its kin.

    python examples/benchmarks/energies.py

The densities are compared on a grid with the true one: total variation and Kullback-Leibler
divergence, and the mass that falls to each mode.
"""

import jax
import jax.numpy as jnp
import numpy as np

from numpyro_score.kernels import mala
from numpyro_score.scores import EnergyNet
from numpyro_score.training import fit
from numpyro_score.training.losses import (
    ContrastiveDivergence,
    MaximumLikelihood,
    PersistentContrastiveDivergence,
)

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


def main():
    """Print the table."""
    print(f"{'loss':>12} {'TV':>6} {'KL':>6}  mass of modes, truly {WEIGHTS}")
    for name in LOSSES:
        variation, divergence, masses = mixture(name)
        print(f"{name:>12} {variation:6.3f} {divergence:6.3f}  {np.round(masses, 3)}", flush=True)


if __name__ == "__main__":
    main()
