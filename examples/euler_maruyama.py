"""
Langevin dynamics in discrete time
==================================

The diffusion ``dX = grad log p(X) dt + sqrt(2) dB`` has the stationary distribution ``p``, and
converges exponentially fast if ``p`` is strongly log-concave. Its Euler-Maruyama steps,

    ``x' = x + eps grad log p(x) + sqrt(2 eps) z``,

are the unadjusted Langevin algorithm (ULA). Their stationary distribution differs from ``p``, and
converges to it as ``eps`` goes to 0 (Dalalyan 2017, doi:10.1111/rssb.12183). On a unit Gaussian it
is ``N(0, 1 / (1 - eps / 2))``. On a logistic distribution, which is log-concave with exponential
tails, it is the fixed point of an integral operator, computed here on a fine grid.
"""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from matplotlib import pyplot as plt

import numpyro_score as ns

SHORT = "--short" in sys.argv
NUM_CHAINS = 1_000 if SHORT else 16_000
NUM_PARTICLES = 5_000 if SHORT else 20_000


def gaussian(x):
    """Log density of `N(0, 1)`."""
    return dist.Normal(0.0, 1.0).log_prob(x)


def logistic(x):
    """Log density `x - 2 log(1 + exp x)`, of variance `pi^2 / 3`."""
    return dist.Logistic(0.0, 1.0).log_prob(x)


targets = {"Gaussian": gaussian, "logistic": logistic}
variance = {"Gaussian": 1.0, "logistic": np.pi**2 / 3}

# %%
# The transition matrix of one step on a grid of cells: rows are the distributions of ``x'`` for
# each ``x``. Its fixed point is the stationary distribution of ULA, and its powers give the
# distributions after several steps.
CELL = 0.1
grid = np.arange(-250, 300) * CELL


def on_grid(logdensity_fn):
    """Mass of the target in every cell."""
    mass = np.exp(np.asarray(logdensity_fn(grid), np.float64))
    return mass / mass.sum()


def one_step(logdensity_fn, eps):
    """Transition matrix of a step between cells."""
    score = np.asarray(jax.vmap(jax.grad(logdensity_fn))(np.float32(grid)), np.float64)
    away = grid[None] - (grid + eps * score)[:, None]
    matrix = np.exp(-(away**2) / (4 * eps))
    return matrix / matrix.sum(1, keepdims=True)


def fixed_point(matrix):
    """The stationary distribution of a transition matrix."""
    equations = np.vstack([matrix.T - np.eye(len(matrix)), np.ones(len(matrix))])
    return np.linalg.lstsq(equations, np.append(np.zeros(len(matrix)), 1))[0]


def total_variation(p, q):
    """Total variation: half the sum of the absolute differences of masses."""
    return np.abs(p - q).sum(-1) / 2


# %%
# Bias against step size. Chains start from exact draws and average ``x^2`` after a burn-in; the
# standard error is estimated from the spread over chains. The measured variance agrees with that of
# the fixed point, not with that of the target, and the difference is proportional to ``eps``.
@partial(jax.jit, static_argnames=("logdensity_fn", "num"))
@partial(jax.vmap, in_axes=(None, 0, None, None, None))
def mean_squares(logdensity_fn, eps, start, rng_key, num):
    """For each step size the mean of `x^2` over the second half of each chain."""
    algorithm = ns.ula(logdensity_fn, eps)

    def step(carry, inputs):
        state, total = carry
        key, counts = inputs
        state, _ = algorithm.step(key, state)
        return (state, total + counts * state.position**2), None

    def one(x, key):
        inputs = jax.random.split(key, num), np.float32(np.arange(num) >= num // 2)
        (_, total), _ = jax.lax.scan(step, (algorithm.init(x), 0 * x), inputs)
        return total / (num - num // 2)

    return jax.vmap(one)(start, jax.random.split(rng_key, len(start)))


eps = np.array([0.1, 0.4, 1.2] if SHORT else [0.05, 0.1, 0.2, 0.4, 0.8, 1.2])
bias = {}
for name, logdensity_fn in targets.items():
    target = {"Gaussian": dist.Normal, "logistic": dist.Logistic}[name](0.0, 1.0)
    start = target.sample(jax.random.key(0), (NUM_CHAINS,))
    squares = np.asarray(
        mean_squares(logdensity_fn, np.float32(eps), start, jax.random.key(1), 800), np.float64
    )
    settled = np.array([fixed_point(one_step(logdensity_fn, size)) for size in eps])
    bias[name] = {
        "measured": squares.mean(1),
        "error": squares.std(1, ddof=1) / np.sqrt(NUM_CHAINS),
        "exact": settled @ grid**2,
        "total_variation": total_variation(settled, on_grid(logdensity_fn)),
    }
    print(f"{name}: variance {variance[name]:.4f}")
    print("  eps  of ULA (s.e.)     exactly  excess / eps  total variation")
    for size, *row in zip(eps, *bias[name].values(), strict=True):
        excess = (row[2] - variance[name]) / size
        print(
            f" {size:.2f}  {row[0]:.4f} ({row[1]:.4f})   {row[2]:.4f}     {excess:.4f}"
            f"        {row[3]:.4f}"
        )
formula = 1 / (1 - eps / 2)
print("1 / (1 - eps / 2):", formula.round(4))


# %%
# Total variation over time, from far away. On the Gaussian, from ``x = 10``, the diffusion is the
# Ornstein-Uhlenbeck process, ``X_t ~ N(10 exp(-t), 1 - exp(-2t))``: its distance to ``p`` is near 1
# while its mean is several sds away, and then decreases like ``10 exp(-t) / sqrt(2 pi)``. ULA
# follows it down to its bias. For a logistic distribution the drift is at most 1, so that it takes
# about 20 units of time to arrive from ``x = 20``.
@partial(jax.jit, static_argnames=("logdensity_fn", "num"))
def histories(logdensity_fn, eps, start, rng_key, num):
    """Positions of particles after each step, `(num, particle)`, from one starting point."""
    algorithm = ns.ula(logdensity_fn, eps)

    def step(states, key):
        keys = jax.random.split(key, NUM_PARTICLES)
        states, _ = jax.vmap(algorithm.step)(keys, states)
        return states, states.position

    states = jax.vmap(algorithm.init)(jnp.full(NUM_PARTICLES, start))
    return jax.lax.scan(step, states, jax.random.split(rng_key, num))[1]


def ornstein_uhlenbeck(t, start):
    """Total variation between the distribution of the diffusion and the Gaussian."""
    spread = 1 - np.exp(-2 * t)[:, None]
    p = np.exp(-((grid - start * np.exp(-t)[:, None]) ** 2) / (2 * spread))
    return total_variation(p / p.sum(1, keepdims=True), on_grid(gaussian))


CELLS_A_BIN = 5
edges = np.arange(-250, 301, CELLS_A_BIN) * CELL - CELL / 2
over_time = {}
for name, start, size, num in (
    ("Gaussian", 10.0, 0.1, 100),
    ("Gaussian", 10.0, 0.5, 20),
    ("logistic", 20.0, 0.5, 80),
):
    logdensity_fn, times = targets[name], size * np.arange(1, num + 1)
    matrix, marginal, marginals = one_step(logdensity_fn, size), np.eye(len(grid)), []
    marginal = marginal[np.abs(grid - start).argmin()]
    for _ in times:
        marginal = marginal @ matrix
        marginals.append(marginal)
    binned = [
        np.reshape(p, (-1, CELLS_A_BIN)).sum(-1) for p in (on_grid(logdensity_fn), *marginals)
    ]
    x = np.asarray(histories(logdensity_fn, size, start, jax.random.key(2), num))
    shares = np.array([np.histogram(row, edges)[0] for row in x]) / NUM_PARTICLES
    over_time[name, size] = {
        "time": times,
        "exact": total_variation(np.array(marginals), on_grid(logdensity_fn)),
        "binned": total_variation(np.array(binned[1:]), binned[0]),
        "histogram": total_variation(shares, binned[0]),
        "chance": np.sqrt(2 * np.array(binned[1:]) / (np.pi * NUM_PARTICLES)).sum(1) / 2,
    }
    limit = total_variation(fixed_point(matrix), on_grid(logdensity_fn))
    over_time[name, size]["limit"] = np.full(num, limit)
    print(f"\n{name} from {start:g}, eps = {size:g}: total variation {limit:.4f} in the end")
    print("   time  ULA exactly  histogram (by chance)  diffusion")
    for place in np.linspace(0, num - 1, 6).astype(int):
        row = {key: values[place] for key, values in over_time[name, size].items()}
        flow = ornstein_uhlenbeck(row["time"][None], start)[0] if name == "Gaussian" else np.nan
        print(
            f" {row['time']:6.1f}     {row['exact']:.4f}     {row['histogram']:.4f} "
            f"({row['chance']:.4f})      {flow:.4f}"
        )

# %%
# The figure: the bias on log-log axes, with slope one, and total variation over time.
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for color, (name, row) in zip(("#4477aa", "#ee7733"), bias.items(), strict=True):
    excess = row["measured"] / variance[name] - 1
    axes[0].errorbar(
        eps, excess, row["error"] / variance[name], fmt="o", color=color, label=f"{name}, chains"
    )
    axes[0].plot(eps, row["exact"] / variance[name] - 1, color=color, label=f"{name}, exactly")
    axes[0].plot(eps, row["total_variation"], ":", color=color, label=f"{name}, total variation")
axes[0].set(
    title="Bias of ULA",
    xscale="log",
    yscale="log",
    xlabel="eps",
    ylabel="excess of the variance, relative; distance",
)
axes[0].legend(fontsize=8)
for (name, size), row in over_time.items():
    (line,) = axes[1].semilogy(row["time"], row["exact"], label=f"{name}, eps = {size:g}")
    axes[1].plot(row["time"], row["histogram"], ".", color=line.get_color(), markersize=3)
flow_times = np.linspace(0.05, 10, 200)
axes[1].plot(
    flow_times, ornstein_uhlenbeck(flow_times, 10.0), "k--", label="Gaussian, the diffusion"
)
axes[1].set(title="Far start (dots: histograms)", xlabel="time", ylabel="total variation")
axes[1].legend(fontsize=8)
figure.savefig("euler_maruyama.png", dpi=120)
print("\npicture: euler_maruyama.png")
