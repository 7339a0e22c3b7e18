"""
A simulator without a likelihood in a hierarchical model
========================================================

An epidemic in a village is simulated day by day (a stochastic SIR model), and its likelihood cannot
be written down. It is learned once, from simulations of single villages, and then stands in a
hierarchical model of 20 villages: rates of infection vary between villages, the rate of recovery
is shared. Posterior predictive checks simulate anew, with the simulator itself.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from matplotlib import pyplot as plt

import numpyro_score as ns

SHORT = "--short" in sys.argv
NUM_VILLAGES, SIZE, NUM_DAYS, WEEKS = 20, 200, 28, 4
NUM_SIMULATIONS = 5000 if SHORT else 10_000


# %%
# The simulator. Every day a susceptible person is infected with probability
# ``1 - exp(-infection I / SIZE)``, and an infected one recovers with probability
# ``1 - exp(-recovery)``. What is observed are new infections by week.
def simulate(rng_key, log_rates):
    """New infections by week, `(week,)`, for the logs of both rates."""
    infection, recovery = jnp.exp(log_rates)

    def day(state, key):
        susceptible, infected = state
        key_infect, key_recover = jax.random.split(key)
        p = 1 - jnp.exp(-infection * infected / SIZE)
        new = jax.random.binomial(key_infect, susceptible, p)
        well = jax.random.binomial(key_recover, infected, 1 - jnp.exp(-recovery))
        return (susceptible - new, infected + new - well), new

    start = jnp.array(SIZE - 5.0), jnp.array(5.0)
    _, new = jax.lax.scan(day, start, jax.random.split(rng_key, NUM_DAYS))
    return new.reshape(WEEKS, -1).sum(axis=1)


simulate_many = jax.jit(jax.vmap(simulate))


# %%
# Counts are made continuous, since what is learned is a density: a uniform random number is added,
# and the logarithm taken.
def continuous(rng, counts):
    return np.log(np.asarray(counts) + rng.uniform(0.2, 1.2, size=np.shape(counts)))


rng = np.random.default_rng(0)
CENTER, SPREAD = np.log([0.6, 0.3]), np.array([0.6, 0.4])
log_rates = CENTER + SPREAD * rng.normal(size=(NUM_SIMULATIONS, 2))
keys = jax.random.split(jax.random.key(0), NUM_SIMULATIONS)
counts = simulate_many(keys, jnp.asarray(log_rates, jnp.float32))
likelihood = ns.LearnedConditional.fit(
    continuous(rng, counts),
    log_rates,
    rng_key=jax.random.key(1),
    width=48,
    depth=2,
    num_steps=800 if SHORT else 2000,
    num_flow_steps=6,
    progress=False,
)


# %%
# The hierarchical model: one line has the learned likelihood, for all villages at once.
def model(y):
    mean = numpyro.sample("mean", dist.Normal(CENTER[0], 0.5))
    sd = numpyro.sample("sd", dist.HalfNormal(0.4))
    recovery = numpyro.sample("recovery", dist.Normal(CENTER[1], 0.3))
    with numpyro.plate("villages", NUM_VILLAGES):
        infection = numpyro.sample("infection", dist.Normal(mean, sd))
        rates = jnp.stack([infection, jnp.full(NUM_VILLAGES, recovery)], axis=-1)
        numpyro.sample("y", likelihood(rates), obs=y)


TRUTH = {"mean": np.log(0.7), "sd": 0.3, "recovery": np.log(0.25)}
true_infection = TRUTH["mean"] + TRUTH["sd"] * rng.normal(size=NUM_VILLAGES)
true_rates = np.stack([true_infection, np.full(NUM_VILLAGES, TRUTH["recovery"])], axis=-1)
keys = jax.random.split(jax.random.key(2), NUM_VILLAGES)
observed = np.asarray(simulate_many(keys, jnp.asarray(true_rates, jnp.float32)))
y = jnp.asarray(continuous(rng, observed), jnp.float32)
dt = ns.sample(
    ns.MALA(model, dense_mass=True, init_strategy=numpyro.infer.init_to_median),
    jax.random.key(3),
    num_warmup=250 if SHORT else 400,
    num_samples=150 if SHORT else 400,
    num_chains=8,
    model_args=(y,),
    progress=False,
)
post = {name: dt.posterior[name].values for name in ("mean", "sd", "recovery", "infection")}
for name, truth in TRUTH.items():
    print(
        f"{name:9s} truth {truth:6.2f}  posterior {post[name].mean():6.2f} ± {post[name].std():.2f}"
    )
z = (post["infection"].mean(axis=(0, 1)) - true_infection) / post["infection"].std(axis=(0, 1))
print(f"villages: rms of (posterior mean - truth) / sd is {np.sqrt(np.mean(z**2)):.2f}")

# %%
# Posterior predictive check: replicated epidemics by the simulator, not by what was learned. For
# each week, in how many villages does the observed count lie in the central 90% of the replicates?
chosen = rng.integers(0, post["mean"].size, size=200)
infection = post["infection"].reshape(-1, NUM_VILLAGES)[chosen]
recovery = np.broadcast_to(post["recovery"].reshape(-1)[chosen, None], infection.shape)
rates = jnp.asarray(np.stack([infection, recovery], axis=-1).reshape(-1, 2), jnp.float32)
replicates = simulate_many(jax.random.split(jax.random.key(4), len(rates)), rates)
replicates = np.asarray(replicates).reshape(200, NUM_VILLAGES, WEEKS)
low, high = np.quantile(replicates, (0.05, 0.95), axis=0)
inside = ((observed >= low) & (observed <= high)).mean(axis=0)
print("share of villages in the central 90%, by week:", np.round(inside, 2))

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
order = np.argsort(true_infection)
center, spread = post["infection"].mean(axis=(0, 1)), post["infection"].std(axis=(0, 1))
axes[0].errorbar(range(NUM_VILLAGES), center[order], 2 * spread[order], fmt="o", ms=4)
axes[0].plot(range(NUM_VILLAGES), true_infection[order], "k_", ms=10, label="truth")
axes[0].set(xlabel="village", ylabel="log rate of infection", title="posterior, ± 2 sd")
axes[0].legend(frameon=False)
total = replicates.sum(axis=1)
axes[1].boxplot(total, whis=(5, 95), showfliers=False)
axes[1].plot(range(1, WEEKS + 1), observed.sum(axis=0), "D", color="#cc3311", label="observed")
axes[1].set(xlabel="week", ylabel="new infections, all villages", title="predictive check")
axes[1].legend(frameon=False)
figure.savefig("simulator_in_a_hierarchy.png", dpi=120)
print("picture: simulator_in_a_hierarchy.png")
