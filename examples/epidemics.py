"""
Epidemics in twenty towns: a simulator without a likelihood
===========================================================

A stochastic SIR epidemic is easy to simulate, but the probability of observed case counts is a sum
over all histories of infections. ``LearnedConditional`` learns it from simulations of one town.
As the likelihood of every town it stands in a hierarchical NumPyro model, where the towns share
what they have in common, and any gradient-based kernel samples the posterior.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from matplotlib import pyplot as plt

import numpyro_score as ns
from numpyro_score.diagnostics import assess

SHORT = "--short" in sys.argv
KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 7)
POPULATION, FIRST_CASES, NUM_DAYS = 500, 5, 42
NUM_TOWNS = 6 if SHORT else 20


# %%
# The simulator. Every day each susceptible person is infected with a probability that rises with
# the number of infectious ones, and each infectious person recovers with the same probability. Its
# parameters are the logarithms of the reproduction number and of the mean infectious period in
# days; it returns the new cases of each day.
def new_cases(rng_key, theta):
    reproduction, period = jnp.exp(theta)

    def day(counts, key):
        susceptible, infectious = counts
        key_in, key_out = jax.random.split(key)
        risk = 1 - jnp.exp(-reproduction / period * infectious / POPULATION)
        infected = jax.random.binomial(key_in, susceptible, risk)
        recovered = jax.random.binomial(key_out, infectious, 1 - jnp.exp(-1 / period))
        return (susceptible - infected, infectious + infected - recovered), infected

    start = (POPULATION - 1.0 * FIRST_CASES, 1.0 * FIRST_CASES)
    return jax.lax.scan(day, start, jax.random.split(rng_key, NUM_DAYS))[1]


def fortnights(cases):
    """New cases of every two weeks."""
    return cases.reshape(*cases.shape[:-1], 3, 14).sum(axis=-1)


def observe(rng_key, theta):
    """Logarithms of the counts of one town; uniform noise makes whole numbers continuous."""
    key_cases, key_noise = jax.random.split(rng_key)
    counts = fortnights(new_cases(key_cases, theta))
    return jnp.log(counts + jax.random.uniform(key_noise, counts.shape))


simulate = jax.jit(jax.vmap(observe))

# %%
# The likelihood is learned on a wider range of parameters than the prior's, because chains in
# warmup try more than the posterior holds.
NUM_PAIRS = 6_000 if SHORT else 20_000
low, high = jnp.log(jnp.array([0.3, 1.5])), jnp.log(jnp.array([15.0, 20.0]))
theta = low + (high - low) * jax.random.uniform(KEYS[0], (NUM_PAIRS, 2))
likelihood = ns.LearnedConditional.fit(
    np.asarray(simulate(jax.random.split(KEYS[1], NUM_PAIRS), theta)),
    theta,
    rng_key=KEYS[2],
    num_steps=1000 if SHORT else 3000,
    num_flow_steps=8,
    progress=False,
)

# %%
# The towns: reproduction numbers around 2 that differ by about 25%, one infectious period.
log_reproduction = np.log(2.0) + 0.25 * np.asarray(jax.random.normal(KEYS[3], (NUM_TOWNS,)))
log_period = np.log(5.0)
truth = jnp.stack([log_reproduction, jnp.full(NUM_TOWNS, log_period)], axis=-1)
y = simulate(jax.random.split(KEYS[4], NUM_TOWNS), truth)


def model(y):
    """Towns with their own reproduction numbers and a common infectious period."""
    mean = numpyro.sample("mean", dist.Normal(jnp.log(2.0), 0.4))
    sd = numpyro.sample("sd", dist.HalfNormal(0.4))
    period = numpyro.sample("period", dist.Normal(jnp.log(5.0), 0.3))
    with numpyro.plate("town", len(y)):
        own = numpyro.sample("reproduction", dist.Normal(mean, sd))
        parameters = jnp.stack([own, jnp.broadcast_to(period, own.shape)], axis=-1)
        numpyro.sample("y", likelihood(parameters), obs=y)


dt = ns.sample(
    ns.MALA(model, dense_mass=True, init_strategy=numpyro.infer.init_to_median),
    KEYS[5],
    num_warmup=200 if SHORT else 400,
    num_samples=150 if SHORT else 1600,
    num_chains=8,
    model_args=(y,),
    progress=False,
)
draws = {name: x.values for name, x in dt.posterior.data_vars.items()}
verdict = assess(dt).verdict
print(f"R-hat at most {verdict.rhat_max:.3f}, effective draws at least {verdict.ess_min:.0f}")
for name, true in (("mean", np.log(2.0)), ("sd", 0.25), ("period", log_period)):
    print(f"{name:7s}{draws[name].mean():7.3f} ±{draws[name].std():6.3f}   true{true:7.3f}")
ends = np.quantile(draws["reproduction"], (0.05, 0.95), axis=(0, 1))
share = np.mean((ends[0] < log_reproduction) & (log_reproduction < ends[1]))
print(f"reproduction numbers within their 90% intervals: {share:.2f} of the towns")

# %%
# The check against the simulator, which knows nothing of what was learned: new epidemics with
# parameters of the posterior, beside what was observed. In a good model about 90% of the counts
# lie within the 90% intervals.
num_checked = 50 if SHORT else 400
own = draws["reproduction"].reshape(-1, NUM_TOWNS)
chosen = jax.random.choice(KEYS[6], len(own), (num_checked,))
period = draws["period"].reshape(-1)[chosen]
parameters = jnp.stack([own[chosen], np.repeat(period[:, None], NUM_TOWNS, axis=1)], axis=-1)
keys = jax.random.split(KEYS[6], (num_checked, NUM_TOWNS))
counts = np.asarray(jax.jit(lambda: fortnights(jax.vmap(jax.vmap(new_cases))(keys, parameters)))())
seen = np.floor(np.exp(np.asarray(y)))
low, high = np.quantile(counts, (0.05, 0.95), axis=0)
covered = np.mean((low <= seen) & (seen <= high))
print(f"observed counts within 90% of the simulated ones: {covered:.2f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
town = np.arange(NUM_TOWNS)
order = np.argsort(log_reproduction)
middle = np.median(draws["reproduction"], axis=(0, 1))
left.vlines(town, *np.exp(ends[:, order]), color="#4477aa", linewidth=2, label="90% interval")
left.plot(town, np.exp(middle[order]), "o", color="#4477aa", markersize=4)
left.plot(town, np.exp(log_reproduction[order]), "x", color="black", label="true")
left.set(xlabel="town, by its true value", ylabel="reproduction number", xticks=town[::2])
left.legend(loc="upper left")
for k, color in enumerate(("#4477aa", "#228833", "#ee6677")):
    place = town + 0.25 * (k - 1)
    right.vlines(place, low[order, k], high[order, k], color=color, alpha=0.5, linewidth=3)
    weeks = f"weeks {2 * k + 1} and {2 * k + 2}"
    right.plot(place, seen[order, k], ".", color=color, markersize=7, label=weeks)
right.set(xlabel="town, by its true value", ylabel="new cases", xticks=town[::2])
right.set_title("observed, and 90% of the simulated")
right.legend(loc="upper left")
figure.savefig("epidemics.png", dpi=120)
print("picture: epidemics.png")
