"""
Good chains and bad ones
========================

What diagnostics detect, and what it looks like: for each problem, four simulated chains without it
and four with it. R-hat and effective sample sizes
are those of Vehtari et al. (2021, arXiv:1903.08008), burn-in is found by MSER-5 (White 1997,
doi:10.1177/003754979706900601).
"""

import sys

import arviz as az
import numpy as np
from matplotlib import pyplot as plt

from numpyro_score.diagnostics import burn_in, mixing, modes

SHORT = "--short" in sys.argv
NUM_CHAINS, NUM_DRAWS = 4, 500 if SHORT else 1000
rng = np.random.default_rng(1)


def autoregressive(coefficient):
    """Autoregressive chains of mean 0 and variance 1."""
    noise = rng.normal(size=(NUM_CHAINS, NUM_DRAWS))
    x = noise.copy()
    for i in range(1, NUM_DRAWS):
        x[:, i] = coefficient * x[:, i - 1] + np.sqrt(1 - coefficient**2) * noise[:, i]
    return x


def tree(x):
    """Draws as an ArviZ `DataTree`."""
    return az.from_dict({"posterior": {"x": x}})


# %%
# Four problems. One chain of four has another mean; the chains are autocorrelated over a hundred
# draws; they start far away, with a transient of a third of the run; they have two modes and hardly
# cross between them.
steps = np.arange(NUM_DRAWS)
crossing = rng.random((NUM_CHAINS, NUM_DRAWS))


def in_modes(rate):
    """Two modes at -3 and 3, between which chains jump with a given probability per step."""
    starts = np.array([0, 1, 1, 1])[:, None]
    side = (starts + np.cumsum(crossing < rate, axis=1)) % 2
    return 3.0 * (2 * side - 1) + rng.normal(size=side.shape)


chains = {
    "agreement": (autoregressive(0.3), autoregressive(0.3) + np.array([0, 0, 0, 1.5])[:, None]),
    "memory": (autoregressive(0.3), autoregressive(0.99)),
    "start": (
        autoregressive(0.3),
        autoregressive(0.3) + 12 * np.exp(-steps / (0.08 * NUM_DRAWS)),
    ),
    "modes": (in_modes(0.4), in_modes(0.002)),
}

# %%
# The findings. For good chains there are none; each problem is found by the diagnostic for it, and
# often by others too.
print("fault       chains   R-hat   bulk ESS   steps to drop   alarms")
alarms, figures = {}, {}
for fault, pair in chains.items():
    for kind, x in zip(("good", "bad"), pair, strict=True):
        dt = tree(x)
        found = {
            "mixing": mixing(dt, with_rstar=False),
            "burn_in": burn_in(dt),
            "modes": modes(dt),
        }
        raised = [name for name, result in found.items() if result.attrs["is_flagged"]]
        rhat, ess = float(found["mixing"].rhat.max()), float(found["mixing"].ess_bulk.min())
        drop = float(found["burn_in"].num_to_drop)
        alarms[fault, kind] = raised
        figures[fault, kind] = rhat, ess, drop
        print(f"{fault:10}  {kind:6} {rhat:8.3f} {ess:9.0f} {drop:12.0f}      {', '.join(raised)}")

# %%
# What it looks like: good chains overlap like a fuzzy caterpillar; bad ones are separated, wander,
# drift in from outside or jump.
figure, axes = plt.subplots(4, 4, figsize=(12, 9), layout="constrained")
titles = {
    "agreement": "one chain is elsewhere",
    "memory": "long memory",
    "start": "far from its start",
    "modes": "few crossings",
}
for column, (fault, pair) in enumerate(chains.items()):
    for row, (kind, x) in enumerate(zip(("good", "bad"), pair, strict=True)):
        rhat, ess, _ = figures[fault, kind]
        top, bottom = axes[2 * row, column], axes[2 * row + 1, column]
        top.plot(x.T, lw=0.5)
        name = titles[fault] if kind == "bad" else "well"
        top.set(title=f"{name}: R-hat {rhat:.2f}, ESS {ess:.0f}", xlabel="draw", ylabel="x")
        top.title.set_fontsize(9)
        if fault == "memory":
            lags = np.arange(100)
            centred = x - x.mean(axis=1, keepdims=True)
            own = [(centred[:, : NUM_DRAWS - k] * centred[:, k:]).mean(axis=1) for k in lags]
            bottom.plot(lags, np.array(own) / centred.var(axis=1))
            bottom.set(xlabel="lag", ylabel="autocorrelation", ylim=(-0.5, 1))
        elif fault == "start":
            running = np.cumsum(x, axis=1) / (steps + 1)
            bottom.plot(running.T)
            bottom.axhline(0, color="k", lw=0.8)
            bottom.set(xlabel="draw", ylabel="mean so far", ylim=(-1, 12))
        else:
            for chain in x:
                bottom.hist(chain, bins=40, histtype="step", density=True)
            bottom.set(xlabel="x", ylabel="density, each chain")
figure.savefig("diagnostics_gallery.png", dpi=120)
print("picture: diagnostics_gallery.png")
