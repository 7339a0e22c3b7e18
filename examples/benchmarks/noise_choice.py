"""Why scores are learned with noise, and how much: three tables, on known distributions.

    python examples/benchmarks/noise_choice.py

1. The sigma of denoising score matching. A score that is linear in 17 bumps is fitted exactly (the
   loss is quadratic) to 2,000 draws of a mixture on the line, 40 times at each sigma. The variance
   of the estimate grows as 1 / sigma^2 at the small end, its bias at the large end.
2. Data on a line in the plane. Their score matching loss has no minimum and falls for as long as
   the training lasts. With noise of .01 it converges to its minimum, -1/2 E|score|^2.
3. Two modes far apart. A score learned without noise is right at the modes and wrong between them,
   where there are no data. Learned at many noise levels, it is right between them at the levels
   whose noise reaches there, and at the modes at all levels.

The obstacles of 2 and 3 are those of Song and Ermon (2019, arXiv:1907.05600, section 3).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from numpyro_score.noise import VE
from numpyro_score.scores import GaussianMixtureScore, ResidualMLP, ScoreNetwork, StaticScore
from numpyro_score.training import cosine_adam, fit
from numpyro_score.training.losses import (
    ContinuousDenoising,
    DenoisingScoreMatching,
    SlicedScoreMatching,
    implicit_score_matching,
)

SIGMAS = np.geomspace(0.02, 2.56, 8)
CENTRES = jnp.linspace(-4.0, 4.0, 17)


class Bumps(eqx.Module):
    """A score on the line that is linear in its parameters."""

    height: jax.Array

    def __call__(self, x):
        """The score at a point `(1,)`."""
        return jnp.sum(self.height * jnp.exp(-((x - CENTRES) ** 2) / (2 * 0.7**2)))[None]


def choice_of_sigma(num=2000, repeats=40):
    """Rows of sigma, squared bias and variance, relative to the squared score of the data."""
    means, weights, sd = jnp.array([-1.5, 1.5]), jnp.array([0.4, 0.6]), 0.6
    grid = jnp.linspace(-3.5, 3.5, 141)[:, None]

    def logdensity(x):
        return jax.nn.logsumexp(jnp.log(weights) - (x[0] - means) ** 2 / (2 * sd**2))

    truth = jax.vmap(jax.grad(logdensity))(grid)[:, 0]
    density = jax.nn.softmax(jax.vmap(logdensity)(grid))
    nothing = jnp.zeros(len(CENTRES))

    def estimate(sigma, rng_key):
        key_mode, key_data, key_loss = jax.random.split(rng_key, 3)
        mode = jax.random.categorical(key_mode, jnp.log(weights), shape=(num,))
        data = (means[mode] + sd * jax.random.normal(key_data, (num,)))[:, None]
        loss = DenoisingScoreMatching(sigma)

        def quadratic(height):
            return loss(Bumps(height), data, key_loss)

        curvature = jax.hessian(quadratic)(nothing) + 1e-6 * jnp.eye(len(nothing))
        best = -jnp.linalg.solve(curvature, jax.grad(quadratic)(nothing))
        return jax.vmap(Bumps(best))(grid)[:, 0]

    rows = []
    for sigma in SIGMAS:
        keys = jax.random.split(jax.random.key(0), repeats)
        fits = jax.jit(jax.vmap(lambda key, sigma=float(sigma): estimate(sigma, key)))(keys)
        variance = density @ fits.var(axis=0, ddof=1)
        # the mean of the fits is itself known up to its variance
        bias = density @ (fits.mean(axis=0) - truth) ** 2 - variance / repeats
        scale = density @ truth**2
        rows.append((float(sigma), float(bias / scale), float(variance / scale)))
    return rows


def data_on_a_line(num_steps=6000):
    """Noise -> history of the sliced loss, and its least value."""
    rng = np.random.default_rng(0)
    along = rng.normal(size=5000)
    found = {}
    for sigma in (0.0, 0.01):
        data = np.stack([along, along], axis=1) + sigma * rng.normal(size=(5000, 2))
        _, history = fit(
            eqx.nn.MLP(2, 2, 128, 2, jax.nn.silu, key=jax.random.key(0)),
            data,
            SlicedScoreMatching(),
            rng_key=jax.random.key(1),
            num_steps=num_steps,
            batch_size=128,
            optimizer=optax.adam(1e-3),
            ema=None,
            validation_fraction=0.0,
            progress=False,
        )
        least = -0.5 * (1 / sigma**2 + 1 / (2 + sigma**2)) if sigma else -np.inf
        found[sigma] = (np.asarray(history.train_loss), least)
    return found


def relative_error(score, truth, points):
    """Root of `E|s - s*|^2 / E|s*|^2` over points."""
    ours, known = jax.jit(jax.vmap(score))(points), jax.vmap(truth)(points)
    return float(jnp.sqrt(jnp.sum((ours - known) ** 2) / jnp.sum(known**2)))


def between_modes(num_steps=3000):
    """Errors of the score without noise, and level -> errors: (between the modes, at them)."""
    rng = np.random.default_rng(0)
    means, weights = np.array([[-5.0, -5.0], [5.0, 5.0]]), np.array([0.2, 0.8])

    def draw(num):
        return means[rng.choice(2, num, p=weights)] + rng.normal(size=(num, 2))

    data = draw(5000)
    noise = VE(0.05, 20.0)
    known = GaussianMixtureScore(weights, means, 1.0, noise)
    middle = jnp.asarray(rng.uniform(-2.5, 2.5, (1000, 2)), jnp.float32)
    typical = jnp.asarray(draw(1000), jnp.float32)

    def clean(x):
        logits = jnp.log(jnp.asarray(weights)) - jnp.sum((x - means) ** 2, axis=-1) / 2
        return jax.nn.softmax(logits) @ (jnp.asarray(means) - x)

    def network(width):
        return ResidualMLP(2, width=width, rng_key=jax.random.key(1))

    settings = {"rng_key": jax.random.key(2), "num_steps": num_steps, "progress": False}
    optimizer = cosine_adam(1e-3)
    without, _ = fit(
        StaticScore(network(32), data),
        data,
        implicit_score_matching,
        optimizer=optimizer,
        **settings,
    )
    conditional, _ = fit(
        ScoreNetwork(network(64), noise, data), data, ContinuousDenoising(), **settings
    )
    by_level = {}
    for sigma in (0.2, 1.0, 3.0, 5.0, 10.0, 20.0):
        t = noise.time_of(sigma)
        noised = typical + sigma * jax.random.normal(jax.random.key(7), typical.shape)
        by_level[sigma] = tuple(
            relative_error(lambda x, t=t: conditional(x, t), lambda x, t=t: known(x, t), points)
            for points in (middle, noised)
        )
    alone = tuple(relative_error(without, clean, points) for points in (middle, typical))
    return alone, by_level


def main():
    """Print the tables."""
    print("1. sigma of denoising: relative to E|score|^2")
    print(f"{'sigma':>8} {'bias^2':>9} {'variance':>9} {'variance x sigma^2':>19}")
    for sigma, bias, variance in choice_of_sigma():
        print(f"{sigma:8.2f} {bias:9.4f} {variance:9.4f} {variance * sigma**2:19.5f}")

    print("\n2. loss of data on a line")
    for sigma, (losses, least) in data_on_a_line().items():
        quarters = [part.mean() for part in np.array_split(losses, 4)]
        text = ", ".join(f"{value:.4g}" for value in quarters)
        spread = losses[-len(losses) // 4 :].std()
        print(f"  noise {sigma:g}: mean of each quarter {text}")
        print(f"    sd of the last quarter {spread:.3g}, least possible {least:.6g}")

    alone, by_level = between_modes()
    print("\n3. relative error of the score")
    print(f"{'noise':>12} {'between the modes':>18} {'at the modes':>13}")
    print(f"{'none':>12} {alone[0]:18.3f} {alone[1]:13.3f}")
    for sigma, (middle, typical) in by_level.items():
        print(f"{sigma:12g} {middle:18.3f} {typical:13.3f}")


if __name__ == "__main__":
    main()
