"""
Posteriors with several modes: learned jumps and NUTS
=====================================================

Two posteriors are symmetric by construction, so that the weight of each mode is known: a regression
on a product of two coefficients, whose signs can both be flipped, and a mixture of three Gaussians,
whose components can be labelled in six ways (Stephens 2000, doi:10.1111/1467-9868.00265). A chain
of NUTS stays in the mode in which it starts. `GlobalLocal` learns where the modes are before the
first draw, jumps between them, and is exact (Gabrie, Rotskoff and Vanden-Eijnden 2022,
doi:10.1073/pnas.2109420119).
"""

import sys
from itertools import permutations

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from matplotlib import pyplot as plt
from numpyro.infer import NUTS
from sklearn.datasets import load_iris

import numpyro_score as ns
from numpyro_score.diagnostics import assess, costs

SHORT = "--short" in sys.argv
NUM_CHAINS = 16
NUM_SAMPLES = 400 if SHORT else 750


# %%
# Each model has a function that returns the mode of a draw.
def product_regression(x, y):
    """`y` depends on the product of two coefficients: flipping both signs changes nothing."""
    a = numpyro.sample("a", dist.Normal(0.0, 1.0))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    noise = numpyro.sample("noise", dist.HalfNormal(1.0))
    numpyro.sample("y", dist.Normal(a * b * x, noise), obs=y)


def clusters(x):
    """Three Gaussians with diagonal covariances, without a fixed order."""
    weights = numpyro.sample("weights", dist.Dirichlet(2 * jnp.ones(3)))
    with numpyro.plate("component", 3):
        loc = numpyro.sample("loc", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        scale = numpyro.sample("scale", dist.LogNormal(-1.0, 0.7).expand([2]).to_event(1))
    parts = dist.Normal(loc, scale).to_event(1)
    numpyro.sample("x", dist.MixtureSameFamily(dist.Categorical(weights), parts), obs=x)


def sign(posterior):
    """0 or 1 for each draw: both coefficients below 0 or above."""
    return (posterior["a"].to_numpy() > 0).astype(int)


def naming(posterior):
    """0 to 5 for each draw: the order of the components along the first feature."""
    order = np.argsort(posterior["loc"].to_numpy()[..., 0], axis=-1)
    known = np.array(list(permutations(range(3))))
    return (order[..., None, :] == known).all(axis=-1).argmax(axis=-1)


rng = np.random.default_rng(0)
covariate = np.linspace(-1.0, 1.0, 40).astype(np.float32)
response = (1.2 * covariate + 0.3 * rng.normal(size=40)).astype(np.float32)
petals = load_iris().data[:, 2:]
petals = ((petals - petals.mean(axis=0)) / petals.std(axis=0)).astype(np.float32)
posteriors = {
    "product regression": (product_regression, (covariate, response), sign, 2),
    "three clusters": (clusters, (petals,), naming, 6),
}
# steps of NUTS for one of GlobalLocal, so that both spend as many gradients, training included
LONGER = {"product regression": 1, "three clusters": 9}
if SHORT:
    del posteriors["three clusters"]

# %%
# Both kernels have the same numbers of chains, draws and gradients: NUTS is thinned. The share of
# draws in each mode is given with its Monte Carlo error, from the effective sample size; by
# symmetry all shares are equal.
runs, shares, errors, moved, spent = {}, {}, {}, {}, {}
for title, (model, data, mode_of, num_modes) in posteriors.items():
    # fewer particles and trainings than the default suffice here, and still fewer for a test
    fewer = {"num_particles": 1024 if SHORT else 3072, "rounds": 1 if SHORT else 2}
    kernels = {"NUTS": NUTS(model), "GlobalLocal": ns.GlobalLocal(model, **fewer)}
    for name, kernel in kernels.items():
        longer = LONGER[title] if name == "NUTS" else 1
        tree = ns.sample(
            kernel,
            jax.random.key(0),
            num_warmup=200,
            num_samples=NUM_SAMPLES * longer,
            thinning=longer,
            num_chains=NUM_CHAINS,
            model_args=data,
            progress=False,
        )
        mode = mode_of(tree.posterior)
        indicators = mode[..., None] == np.arange(num_modes)
        share = indicators.mean(axis=(0, 1))
        ess = np.array([float(az.ess(indicators[..., k].astype(float))) for k in range(num_modes)])
        place = title, name
        runs[place], shares[place] = tree, share
        errors[place] = np.sqrt((1 - 1 / num_modes) / num_modes / ess)
        moved[place] = float((np.diff(mode, axis=1) != 0).any(axis=1).mean())
        spent[place] = costs(tree)
        print(f"{title}, {name}: {int(spent[place].gradients):,} gradients in all")
        print(f"  shares of the modes {share.round(3)}, exactly {1 / num_modes:.3f} each")
        print(f"  chains that ever changed mode: {moved[place]:.0%}")
        if name == "GlobalLocal":
            print(f"  standard errors {errors[place].round(3)}")
            quality = kernel.fitted.quality
            print(
                f"  jumps accepted {quality.acceptance_rate:.2f}, Pareto k {quality.pareto_k:.2f}"
            )

# %%
# The diagnostics detect the difference: R-hat of NUTS is far above 1. `ns.write_report` writes a
# page with all of them.
verdicts = {place: assess(tree, with_discrepancy=False).verdict for place, tree in runs.items()}
for place, verdict in verdicts.items():
    print(f"{', '.join(place)}: converged {verdict.is_converged}, R-hat {verdict.rhat_max:.2f}")
    if place[0] != "three clusters":
        continue
    page = ns.write_report(
        runs[place],
        f"{'-'.join(place).replace(' ', '-')}.html",
        title=", ".join(place),
        progress=False,
    )
    print(f"report: {page.name}")

# %%
# The figure: each colour is one chain. With NUTS each chain stays in its mode; with jumps every
# chain visits all modes.
figure, axes = plt.subplots(
    len(posteriors), 3, figsize=(11, 3.6 * len(posteriors)), layout="constrained", squeeze=False
)
for row, title in zip(axes, posteriors, strict=True):
    for panel, name in zip(row, ("NUTS", "GlobalLocal"), strict=False):
        posterior = runs[title, name].posterior
        if title == "product regression":
            points = posterior["a"].to_numpy(), posterior["b"].to_numpy()
            labels = "a", "b"
        else:
            points = posterior["loc"].to_numpy()[..., 0, 0], posterior["loc"].to_numpy()[..., 1, 0]
            labels = "first component's mean", "second component's mean"
        for chain in range(4):
            thinned = slice(None, None, 5)
            panel.plot(points[0][chain, thinned], points[1][chain, thinned], ".", ms=3, alpha=0.6)
        panel.set(title=f"{title}: {name}, 4 chains", xlabel=labels[0], ylabel=labels[1])
    num_modes = posteriors[title][3]
    for k, name in enumerate(("NUTS", "GlobalLocal")):
        row[2].errorbar(
            np.arange(num_modes) + 0.15 * k,
            shares[title, name],
            3 * errors[title, name] if name == "GlobalLocal" else None,
            fmt="o",
            capsize=3,
            label=name,
        )
    row[2].axhline(1 / num_modes, color="black", lw=1, label="by symmetry")
    row[2].set(title="share of each mode (3 s.e.)", xlabel="mode", ylim=(0, None))
    row[2].set_xticks(range(num_modes))
    row[2].legend()
figure.savefig("label_switching.png", dpi=120)
print("picture: label_switching.png")
