"""
From sampling to optimization: temperature
==========================================

At temperature ``T = 1 / beta`` a kernel samples ``p^beta``, or, with ``p = exp(-f)``, the Gibbs
measure ``exp(-beta f) / Z``. Without noise (``T = 0``) Langevin dynamics is gradient ascent and
converges to a nearby mode. Simulated annealing is between the two: if the temperature decreases
slowly enough, a chain can leave a local minimum before it is trapped (Kirkpatrick, Gelatt and
Vecchi 1983, doi:10.1126/science.220.4598.671).
"""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt
from scipy.optimize import brentq

import numpyro_score as ns
from numpyro_score.targets import mixture_1d

SHORT = "--short" in sys.argv

# %%
# Langevin dynamics without noise, on a density with two modes, from several starting points. Each
# path converges to the mode on its side of the minimum between them. The roots of the derivative of
# the density are the two modes and this minimum.
target = mixture_1d()


def slope(x):
    """Derivative of `3 exp(-(x + 2)^2 / 2) + exp(-(x - 4)^2 / 8)`."""
    return -3 * (x + 2) * np.exp(-((x + 2) ** 2) / 2) - (x - 4) / 4 * np.exp(-((x - 4) ** 2) / 8)


left, valley, right = (brentq(slope, *ends) for ends in ((-3, -1), (-1, 1), (1, 5)))
climb = ns.ula(target.logdensity_fn, step_size=0.25, temperature=0.0)


@partial(jax.jit, static_argnames="num")
def climbed(starts, num):
    """Positions `(num, start)` along the paths, and log densities."""

    def step(states, key):
        states, _ = jax.vmap(climb.step, in_axes=(None, 0))(key, states)
        return states, (states.position[:, 0], states.logdensity)

    keys = jax.random.split(jax.random.key(0), num)  # not used at temperature 0
    return jax.lax.scan(step, jax.vmap(climb.init)(starts[:, None]), keys)[1]


climb_starts = np.linspace(-8, 12, 101, dtype=np.float32)
paths, heights = map(np.asarray, climbed(climb_starts, 400))
nearest = np.where(climb_starts < valley, left, right)
climb_error = np.abs(paths[-1] - nearest).max()
descents = int((np.diff(heights, axis=0) < -1e-5).sum())
print(f"modes {left:.4f} and {right:.4f}, valley {valley:.4f}")
print(
    f"{len(climb_starts)} starts climb to the mode of their side: largest distance from it ", end=""
)
print(f"{climb_error:.1e}, {descents} steps downhill")

# %%
# A function with many local minima, on a grid of ``n`` points. Its minimum is 1, at ``x = 1.5``.
n = 201
x = np.linspace(-5, 5, n)
f = 1 + 0.15 * (x - 1.5) ** 2 + 0.45 * (1 - np.cos(2 * np.pi * (x - 1.5) / 1.25))
f_min = f.min()


def gibbs(beta):
    """The Gibbs measure on the grid."""
    p = np.exp(-beta * (f - f_min))
    return p / p.sum()


# %%
# Gibbs measures concentrate on the minimiser: each of at most ``n`` points with
# ``f > (1 + e) f_min`` has mass below ``exp(-e beta f_min)`` times the minimiser's, so that
#
#     ``Pr[f > (1 + e) f_min] <= n exp(-e beta f_min)``,
#
# and ``beta = log(n / delta) / (e f_min)`` leaves at most ``delta``.
betas, excesses = np.array([1, 5, 10, 20, 40]), np.array([0.05, 0.2, 0.5, 1.0])


def beyond(beta, e):
    """`Pr[f > (1 + e) f_min]` under the Gibbs measure."""
    return gibbs(beta)[f > (1 + e) * f_min].sum()


probability = np.array([[beyond(beta, e) for beta in betas] for e in excesses])
bound = n * np.exp(-np.outer(excesses, betas) * f_min)
print("\nPr[f > (1 + e) f_min] and its bound")
print("    e  " + "".join(f"      beta = {beta:<7d}" for beta in betas))
for e, masses, bounds in zip(excesses, probability, bound, strict=True):
    cells = (f"  {mass:7.1e} <= {most:7.1e}" for mass, most in zip(masses, bounds, strict=True))
    print(f" {e:4.2f}" + "".join(cells))
delta = 0.01
enough = np.log(n / delta) / (excesses * f_min)
left_over = np.array([beyond(beta, e) for beta, e in zip(enough, excesses, strict=True)])
print(f"beta for {delta:.0%}: {enough.round(1)}, which leaves")
print("  ".join(f"{mass:.1e}" for mass in left_over))

# %%
# Annealing. A Metropolis chain on the grid proposes one of the 20 nearest points, from a uniform
# start. A *quench* (``T = 0``) accepts only moves downhill and ends in a nearby local minimum. At a
# fixed low temperature the chain hardly leaves it; at a fixed high temperature it visits the global
# minimum but does not stay. If ``T`` decreases from 1 to .05, slowly, the chain finds the global
# minimum and stays there. The exact distribution of the chain follows from its transition
# probabilities, and is given next to the share of chains that end at the global minimum.
REACH, HOT, COLD = 10, 1.0, 0.05
NUM_STEPS, NUM_CHAINS = (1_600, 500) if SHORT else (16_000, 1_000)
is_best = np.abs(x - 1.5) < 1.25 / 2
energies = jnp.asarray(f, jnp.float32)
schedules = {
    "quench, T = 0": (0.0, 0.0, 1),
    "held at T = .05": (COLD, COLD, 1),
    "held at T = 1": (HOT, HOT, 1),
    **{
        f"T falls in {steps} steps": (HOT, COLD, steps)
        for steps in (NUM_STEPS // 64, NUM_STEPS // 8, NUM_STEPS)
    },
}
hot, cold, duration = np.array(list(schedules.values()), np.float32).T


def temperature_at(step, hot, cold, duration):
    """Decreases linearly from hot to cold, then stays constant."""
    return hot + (cold - hot) * jnp.minimum(step / duration, 1)


def log_density(place):
    """Minus `f` at a grid index, -inf outside of the grid."""
    inside = (place >= 0) & (place < n)
    return jnp.where(inside, -energies[jnp.clip(place, 0, n - 1).astype(int)], -jnp.inf)


def move(rng_key, place):
    """One of the 20 nearest points; symmetric, with Hastings correction 0."""
    which = jax.random.randint(rng_key, (), 0, 2 * REACH)
    return place + jnp.where(which < REACH, which - REACH, which - REACH + 1), jnp.zeros(())


@jax.jit
@partial(jax.vmap, in_axes=(0, 0, 0, None))
def ends(hot, cold, duration, rng_keys):
    """Grid indices at which chains end, under a temperature schedule."""
    schedule = partial(temperature_at, hot=hot, cold=cold, duration=duration)
    algorithm = ns.metropolis_hastings(log_density, move, schedule)

    def one(key):
        key_start, key_steps = jax.random.split(key)
        start = algorithm.init(jnp.floor(jax.random.uniform(key_start) * n))

        def step(state, key):
            return algorithm.step(key, state)[0], None

        return jax.lax.scan(step, start, jax.random.split(key_steps, NUM_STEPS))[0].position

    return jax.vmap(one)(rng_keys)


def exact_distributions():
    """Final distributions `(schedule, n)`, from the transition probabilities of every step."""
    offsets = np.delete(np.arange(-REACH, REACH + 1), REACH)
    to = np.arange(n)[:, None] + offsets
    rise = np.where((to >= 0) & (to < n), f[to % n] - f[:, None], np.inf)
    is_inside, shares = np.isfinite(rise), np.full((len(hot), n), 1 / n)
    for step in range(NUM_STEPS):
        now = np.asarray(hot + (cold - hot) * np.minimum(step / duration, 1))[:, None, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            # at temperature 0 only downhill moves are accepted
            out = np.where(now > 0, np.exp(-np.maximum(rise, 0) / now), rise < 0)
            back = np.where(now > 0, np.exp(-np.maximum(-rise, 0) / now), rise > 0) * is_inside
        gained = (shares[:, to % n] * back).sum(-1)
        shares = shares + (gained - shares * out.sum(-1)) / (2 * REACH)
    return shares


keys = jax.random.split(jax.random.key(1), NUM_CHAINS)
places = np.asarray(ends(hot, cold, duration, keys)).astype(int)
exact = exact_distributions()
share, exact_share = is_best[places].mean(1), exact[:, is_best].sum(1)
share_error = np.sqrt(exact_share * (1 - exact_share) / NUM_CHAINS)
print(f"\nshare of {NUM_CHAINS} chains in the best valley after {NUM_STEPS} steps (s.e.), exactly")
for name, *row in zip(schedules, share, share_error, exact_share, strict=True):
    print("{:22s}  {:.3f} ({:.3f})  {:.3f}".format(name, *row))

# %%
# The figure: gradient ascent paths, Gibbs measures at three temperatures, and the final positions
# of chains for three schedules.
figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
axes[0].plot(paths[:80, ::4], color="#4477aa", linewidth=0.7)
for level, name in ((left, "mode"), (right, "mode"), (valley, "valley")):
    style = ":" if name == "valley" else "-"
    axes[0].axhline(level, color="#cc3311", linestyle=style, linewidth=1)
axes[0].set(title="Langevin without noise climbs", xlabel="step", ylabel="x (red: modes, valley)")
axes[1].plot(x, f / f.max(), color="black", linewidth=0.8, label="f, scaled")
for beta in (1, 5, 20):
    axes[1].plot(x, gibbs(beta) / gibbs(beta).max(), label=f"Gibbs, beta = {beta}")
axes[1].set(title="Gibbs measures concentrate", xlabel="x", ylabel="relative to the largest")
axes[1].set_ylim(0, 1.4)
axes[1].legend(loc="upper right", ncols=2)
axes[2].plot(x, f / f.max(), color="black", linewidth=0.8)
middle = np.linspace(-5, 5, 42)
for row, color in ((0, "#4477aa"), (2, "#bbbbbb"), (5, "#ee7733")):
    counts = np.histogram(x[places[row]], middle)[0] / NUM_CHAINS
    name = list(schedules)[row]
    axes[2].stairs(counts, middle, label=name, color=color, fill=row == 2, alpha=0.9)
axes[2].set(title="Where chains end", xlabel="x", ylabel="share of the chains")
axes[2].legend()
figure.savefig("annealing.png", dpi=120)
print("\npicture: annealing.png")
