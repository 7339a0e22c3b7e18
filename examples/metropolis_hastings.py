"""
Metropolis-Hastings on two modes
================================

The density ``3 exp(-(x + 2)^2 / 2) + exp(-(x - 4)^2 / 8)`` is known up to its constant, which is
all that Metropolis-Hastings needs: a candidate ``x'`` drawn from ``q(x' | x)`` is accepted with
probability ``min(1, p(x') q(x | x') / p(x) q(x' | x))`` (Hastings 1970,
doi:10.1093/biomet/57.1.97). The two components have areas ``3 sqrt(2 pi)`` and ``2 sqrt(2 pi)``:
the modes have weights .6 and .4, which the chain estimates.
"""

import sys
from functools import partial

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from matplotlib import pyplot as plt

import numpyro_score as ns
from numpyro_score.diagnostics import expectation_errors, mixing
from numpyro_score.kernels.proposals import from_distribution
from numpyro_score.targets import mixture_1d

SHORT = "--short" in sys.argv
NUM_DRAWS = 20_000 if SHORT else 100_000
NUM_BURN_IN = 1_000

target = mixture_1d()
mode_weight = target.expectations[-1]


def density(x):
    """Normalised density: the two areas add up to `5 sqrt(2 pi)`."""
    bells = 3 * np.exp(-((x + 2) ** 2) / 2) + np.exp(-((x - 4) ** 2) / 8)
    return bells / (5 * np.sqrt(2 * np.pi))


def left_share(x):
    """Probability that `x` is from the left component; its mean is the weight of the component."""
    return mode_weight.fn({"x": x[..., None]})[..., 0]


# %%
# One chain with the proposal ``N(x, 1)``. Nothing is adapted, so that warmup is burn-in. The mean
# of the posterior probability of a component estimates its weight, with the Monte Carlo error
# (mcse) from the chain's autocorrelation.
walker = ns.RandomWalkMetropolis(
    target.model, step_size=1.0, adapt_step_size=False, adapt_mass_matrix=False
)
run = ns.sample(
    walker,
    jax.random.key(0),
    num_warmup=NUM_BURN_IN,
    num_samples=NUM_DRAWS,
    num_chains=1,
    progress=False,
)
walk_errors = expectation_errors(run, target.expectations).set_index("quantity")
walk = run.posterior.x.values[0, :, 0].astype(np.float64)
walk_acceptance = run.sample_stats.acceptance_rate.values.mean()
print(f"{NUM_DRAWS} draws with proposal N(x, 1): {walk_acceptance:.3f} accepted")
print(walk_errors[["estimate", "mcse", "truth", "error_mcse"]].round(4).to_string())

# %%
# The histogram follows the density. Their distance is half the sum of the absolute differences of
# bins (total variation); its Monte Carlo error is estimated from 50 batches of the chain.
edges = np.linspace(-6, 12, 37)
fine = np.linspace(-30, 40, 70_001)
cumulative = np.append(0, np.cumsum((density(fine[1:]) + density(fine[:-1])) / 2 * 1e-3))
bin_mass = np.diff(np.interp(edges, fine, cumulative))
stretches = np.stack([np.histogram(part, edges)[0] for part in np.split(walk, 50)])
stretches = stretches * 50 / NUM_DRAWS
bin_share, bin_error = stretches.mean(0), stretches.std(0, ddof=1) / np.sqrt(50)
distance = np.abs(bin_share - bin_mass).sum() / 2
chance = np.sqrt(2 / np.pi) * bin_error.sum() / 2
print(f"\nhistogram to density: total variation {distance:.4f}, by chance about {chance:.4f}")


# %%
# The scale of the proposal. Small steps are nearly always accepted but move little, large ones are
# rejected. The acceptance rate at each scale is an integral, given next to the measured one. The
# effective sample size (ESS) is largest where a third to a half of the candidates are accepted.
@partial(jax.jit, static_argnames="num")
@partial(jax.vmap, in_axes=(0, None, None, None))
def walks(scale, start, rng_key, num):
    """For each scale chains `(chain, num)`, and their acceptance rates."""
    algorithm = ns.random_walk(target.logdensity_fn, scale)

    def step(state, key):
        state, info = algorithm.step(key, state)
        return state, (state.position[0], info.acceptance_rate)

    def one(x, key):
        return jax.lax.scan(step, algorithm.init(x), jax.random.split(key, num))[1]

    return jax.vmap(one)(start, jax.random.split(rng_key, len(start)))


def exact_acceptance(scale):
    """Mean of `min(1, p(x + scale z) / p(x))` over x and z, on a grid."""
    x, z = np.linspace(-12, 20, 401), np.linspace(-6, 6, 4_001)
    flow = np.minimum(density(x)[:, None], density(x[:, None] + scale * z))
    return flow.sum(0) @ np.exp(-(z**2) / 2) * 0.08 * 0.003 / np.sqrt(2 * np.pi)


scales = np.geomspace(0.3, 100, 6 if SHORT else 11)
num_walks, walk_length = 16, 2_000 if SHORT else 10_000
starts = target.sample(jax.random.key(1), num_walks)["x"]
walked = walks(np.float32(scales), starts, jax.random.key(2), walk_length)
places, rates = map(np.asarray, walked)
acceptance, acceptance_error = rates.mean((1, 2)), rates.mean(2).std(1) / np.sqrt(num_walks - 1)
expected_acceptance = np.array([exact_acceptance(scale) for scale in scales])
ess = np.array([float(az.ess(x, method="mean", relative=True)) for x in places])
print("\n   scale  accepted (s.e.)  exactly  ESS per 1000 steps")
for row in zip(scales, acceptance, acceptance_error, expected_acceptance, 1000 * ess, strict=True):
    print("{:8.2f}   {:.3f} ({:.3f})    {:.3f}   {:8.1f}".format(*row))

# %%
# A proposal that does not depend on the chain's position must cover the target. A wide Student t
# does: ``p / q`` is bounded. A normal distribution on the left mode has such light tails that a
# rare candidate far to the right has the weight of thousands of others, and the chain stays there
# as long. A distribution that ends at x = 1 proposes nothing beyond, and *the chain does not show
# it*: it mixes well on the part of the target that is covered.
proposals = {
    "wide": dist.StudentT(5.0, 0.4, 3.5),
    "thin tails": dist.Normal(-2.0, 1.0),
    "cut at 1": dist.Uniform(-6.0, 1.0),
}


@partial(jax.jit, static_argnames="num")
def jumps(proposal, rng_key, num):
    """One independence chain `(num, 1)` from the left mode, and its acceptance rate."""
    algorithm = ns.independence(target.logdensity_fn, from_distribution(proposal.expand([1])))

    def step(state, key):
        state, info = algorithm.step(key, state)
        return state, (state.position, info.acceptance_rate)

    start = algorithm.init(jnp.full(1, -2.0))
    return jax.lax.scan(step, start, jax.random.split(rng_key, num))[1]


def exact_jump_acceptance(proposal):
    """Acceptance rate and weight of the left mode for the covered part of the target."""
    x = np.linspace(-30, 40, 2_801)
    inside = np.asarray(proposal.support(x), float)
    q = np.exp(np.asarray(proposal.log_prob(np.where(inside, x, 0.0)), np.float64)) * inside
    p = density(x) * (q > 0)
    p, q = p / p.sum(), q / q.sum()
    weight = float(p @ left_share(x))
    return np.minimum(np.outer(p, q), np.outer(q, p)).sum(), weight


independence = {}
print("\nproposal     accepted  exactly  left weight (mcse)  reachable  longest stand  findings")
for name, proposal in proposals.items():
    draws, rate = map(np.asarray, jumps(proposal, jax.random.key(3), NUM_BURN_IN + NUM_DRAWS))
    draws = draws[None, NUM_BURN_IN:].astype(np.float64)
    tree = az.from_dict({"posterior": {"x": draws}})
    table, mixed = expectation_errors(tree, [mode_weight]), mixing(tree, with_rstar=False)
    exact, reachable = exact_jump_acceptance(proposal)
    independence[name] = {
        "draws": draws[0, :, 0],
        "acceptance": float(rate.mean()),
        "exact_acceptance": exact,
        "weight": table.estimate[0],
        "mcse": table.mcse[0],
        "reachable": reachable,
        "longest_stand": int(mixed.longest_rejection.max()),
        "findings": mixed.attrs["findings"],
    }
    row = independence[name]
    print(
        f"{name:11s}  {row['acceptance']:.3f}     {exact:.3f}    {row['weight']:.3f} "
        f"({row['mcse']:.4f})     {reachable:.3f}      {row['longest_stand']:6d}        "
        f"{len(row['findings'])}"
    )

# %%
# The figure: the chain's histogram, acceptance rate and ESS for each scale, and the running
# estimate of the left mode's weight with each independence proposal. Only that of the covering
# proposal converges to .6.
figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
grid = np.linspace(-6, 12, 400)
axes[0].stairs(bin_share / np.diff(edges), edges, fill=True, color="#88aacc", label="draws")
axes[0].plot(grid, density(grid), color="#cc3311", label="density")
axes[0].set(title=f"{NUM_DRAWS:,} draws, proposal N(x, 1)", xlabel="x", ylabel="density")
axes[0].legend()
axes[1].plot(scales, expected_acceptance, color="#4477aa", label="acceptance, exactly")
axes[1].plot(scales, acceptance, "o", color="#4477aa", label="acceptance, measured")
axes[1].plot(scales, ess / ess.max(), "s-", color="#ee7733", label="ESS, relative to the best")
axes[1].set(title="Scale of the proposal", xscale="log", xlabel="sd of the proposal", ylim=(0, 1.4))
axes[1].legend(loc="upper right")
counts = np.arange(1, NUM_DRAWS + 1)
for name, row in independence.items():
    axes[2].plot(counts, np.cumsum(left_share(row["draws"])) / counts, label=name)
axes[2].axhline(0.6, color="black", linestyle=":", label="truth")
axes[2].set(
    title="Independence proposals", xscale="log", xlabel="draws", ylabel="weight of the left mode"
)
axes[2].set_ylim(0.45, 1.2)
axes[2].legend(loc="upper right", ncols=2)
figure.savefig("metropolis_hastings.png", dpi=120)
print("\npicture: metropolis_hastings.png")
