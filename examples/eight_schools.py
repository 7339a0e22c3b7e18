"""
Eight schools: another kernel in one line
=========================================

Eight schools report the effects of coaching on the marks of their pupils, each with a standard
error (Rubin 1981, doi:10.3102/10769986006004377). The effects ``theta`` are normally distributed
with unknown mean ``mu`` and unknown sd ``tau``. The model is written in NumPyro in two equivalent
parameterisations, one of which is much harder to sample. The diagnostics show which one.
"""

import sys

import arviz as az
import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from matplotlib import pyplot as plt
from numpyro.infer import MCMC, NUTS
from scipy.stats import halfcauchy, multivariate_normal

import numpyro_score as ns
from numpyro_score.diagnostics import assess, expectation_errors
from numpyro_score.infer import MALA
from numpyro_score.targets import Expectation, eight_schools

SHORT = "--short" in sys.argv
NUM_CHAINS, NUM_WARMUP, NUM_DRAWS = 16, 1_000, 2_000 if SHORT else 4_000
sigma = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
effects = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])


# %%
# The non-centered model: the effects are ``mu`` plus ``tau`` times standard normal variables.
def non_centered(sigma, y=None):
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("school", len(sigma)):
        base = numpyro.sample("theta_base", dist.Normal(0.0, 1.0))
        theta = numpyro.deterministic("theta", mu + tau * base)
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


# %%
# NumPyro's ``MCMC`` with NUTS, and with MALA: one line differs. Vectorized chains run in one
# program and share the step size and the preconditioner that warmup adapts. Sequential chains adapt
# separately, and have more warmup here.
def run_mcmc(kernel, num_chains, chain_method, num_warmup):
    mcmc = MCMC(
        kernel,
        num_warmup=num_warmup,
        num_samples=NUM_DRAWS,
        num_chains=num_chains,
        chain_method=chain_method,
        progress_bar=False,
    )
    mcmc.run(jax.random.key(0), sigma, y=effects)
    return az.from_numpyro(mcmc)


mcmc_runs = {
    "NUTS": run_mcmc(NUTS(non_centered), NUM_CHAINS // 4, "vectorized", NUM_WARMUP),
    "MALA": run_mcmc(MALA(non_centered), NUM_CHAINS, "vectorized", NUM_WARMUP),
    "MALA, sequential": run_mcmc(MALA(non_centered), 4, "sequential", 2 * NUM_WARMUP),
}

# %%
# Both sample the same posterior: means and second moments agree with each other and with values by
# quadrature within Monte Carlo error (mcse).
known = eight_schools().expectations
moment_tables = {name: expectation_errors(dt, known) for name, dt in mcmc_runs.items()}
truth = moment_tables["MALA"].set_index("quantity").truth
print("                  " + "  ".join(f"{name:>18s}" for name in mcmc_runs) + "      truth")
for place in (0, 2, 4, 5):
    rows = [table.iloc[place] for table in moment_tables.values()]
    cells = "  ".join(f"{row.estimate:8.3f} ({row.mcse:.4f})" for row in rows)
    print(f"{rows[0].quantity:18s}{cells}  {rows[0].truth:9.3f}")
worst = {name: table.error_mcse.max() for name, table in moment_tables.items()}
nuts, mala = moment_tables["NUTS"], moment_tables["MALA"]
apart = np.abs(nuts.estimate - mala.estimate) / np.hypot(nuts.mcse, mala.mcse)
print(f"worst of {len(truth)} errors, in Monte Carlo errors: ", end="")
print(", ".join(f"{name} {error:.1f}" for name, error in worst.items()), end="")
print(f"; NUTS from MALA {apart.max():.1f}")


# %%
# The centered model: the effects are drawn with mean ``mu`` and sd ``tau`` directly. If ``tau`` is
# small, all eight effects are close to ``mu``: a funnel, in whose mouth a fixed step size is too
# small and in whose neck it is too large.
def centered(sigma, y=None):
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("school", len(sigma)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


# %%
# How much of the posterior is in the neck? Given ``tau`` the estimates of the schools are normal,
# so that the marginal density of ``tau`` can be computed on a grid of ``log tau``. Its mean is
# checked against the value stored in the package.
log_tau = np.linspace(-9.0, 7.0, 1_601)
scales = np.exp(log_tau)
likelihood = [
    multivariate_normal.pdf(effects, cov=np.diag(sigma**2 + tau**2) + 5.0**2) for tau in scales
]
density = np.array(likelihood) * halfcauchy.pdf(scales, scale=5.0) * scales
density /= np.trapezoid(density, log_tau)
neck = float(np.trapezoid(np.where(scales < 1, density, 0.0), log_tau))
mean_tau = float(np.trapezoid(scales * density, log_tau))
print(f"\ntau by quadrature: mean {mean_tau:.4f} (recorded {truth['mean(tau)']:.4f}), ", end="")
print(f"P(tau < 1) = {neck:.4f}")


def in_neck(draws):
    """Whether a draw is in the neck of the funnel; its mean is the mass of the neck."""
    return (draws["tau"] < 1.0).astype(float)


mass_of_neck = Expectation("P(tau < 1)", "tau", in_neck, neck, np.sqrt(neck * (1 - neck)))

# %%
# The same kernel and NUTS in ``sample``, which also keeps the warmup. ``assess`` returns a verdict
# from R-hat and effective sample size (ESS) of the worst parameter, and the findings of ``mixing``
# and ``burn_in``, which can also be called separately. Chains that do not move are typical of a
# funnel: a chain in the neck rejects steps of the size that suits the others. Estimates from chains
# that disagree may be close to the truth by chance, but their error is not known.
models = {"non-centered": non_centered, "centered": centered}
runs, found = {}, {}
for way, model in models.items():
    for name, kernel in {"MALA": ns.MALA(model), "NUTS": NUTS(model)}.items():
        runs[way, name] = ns.sample(
            kernel,
            jax.random.key(1),
            num_warmup=NUM_WARMUP,
            num_samples=NUM_DRAWS,
            num_chains=NUM_CHAINS if name == "MALA" else NUM_CHAINS // 4,
            model_args=(sigma, effects),
            progress=False,
        )
        found[way, name] = assess(runs[way, name])
neck_tables = {place: expectation_errors(dt, [mass_of_neck]).iloc[0] for place, dt in runs.items()}
print("\nparameters    kernel  converged   R-hat  bulk ESS  tail ESS  diverging  longest", end="")
print("  P(tau < 1)\n" + " " * 71 + "stand      (mcse)")
for (way, name), one in found.items():
    verdict, row = one.verdict, neck_tables[way, name]
    print(
        f"{way:13s} {name}    {verdict.is_converged!s:9s}  {verdict.rhat_max:.4f} "
        f"{verdict.ess_bulk_min:9.0f} {verdict.ess_tail_min:9.0f} {verdict.num_divergent:10d} "
        f"{int(one.mixing.longest_rejection.max()):14d}  {row.estimate:.3f} ({row.mcse:.3f})"
    )
for way in models:
    mixed, start = found[way, "MALA"].mixing, found[way, "MALA"].burn_in
    print(f"\n{way}, MALA: what mixing and burn_in find")
    for finding in mixed.attrs["findings"] + start.attrs["findings"] or ["nothing"]:
        print(f"  {finding}")

# %%
# A report has all of this with figures. It begins with a summary of problems and remedies. Then
# look at the ranks (lines should be flat and cross), at the traces (which should not stay at one
# level) and at the pairs of parameters, which show the funnel.
pages = {}
for way in ["centered"] if SHORT else models:
    dt, title = runs[way, "MALA"], f"Eight schools, {way}"
    pages[way] = ns.write_report(
        dt, f"eight_schools_{way.replace('-', '_')}.html", title=title, progress=False
    )
    print(f"report: {pages[way].name}")

# %%
# The figure: a row for each parameterisation. The chains that were stuck longest, the funnel with
# draws, and the density of ``log tau``; last, the effective sample size per thousand gradients.
figure, axes = plt.subplots(2, 4, figsize=(15, 7), layout="constrained")
colors = {"non-centered": "#4477aa", "centered": "#cc3311"}
edges = np.linspace(-4.5, 4.0, 40)
for row, way in zip(axes, reversed(models), strict=True):
    posterior, stands = runs[way, "MALA"].posterior, found[way, "MALA"].mixing.longest_rejection
    tau = posterior.tau.values
    for chain in np.argsort(stands.values)[::-1][:4]:
        row[0].plot(tau[chain, :2_000], linewidth=0.6, label=f"chain {chain}")
    row[0].set(yscale="log", ylim=(0.02, 60), title=f"{way}: four traces, MALA")
    row[0].set(xlabel="draw", ylabel="tau")
    row[0].legend(loc="lower right", ncols=2, fontsize=8)
    theta = posterior.theta.values[..., 0].ravel()[::10]
    row[1].plot(theta, np.log(tau.ravel()[::10]), ".", color=colors[way], markersize=1.5)
    row[1].set(title="the funnel", xlabel="theta, first school", ylabel="log tau")
    row[1].set(xlim=(-25, 45), ylim=(-4.5, 4.0))
    for name, style in (("MALA", "-"), ("NUTS", ":")):
        heights = np.histogram(np.log(runs[way, name].posterior.tau.values), edges, density=True)[0]
        row[2].stairs(heights, edges, color=colors[way], linestyle=style, label=name)
    row[2].plot(log_tau, density, color="black", linewidth=0.9, label="exactly")
    row[2].set(title="density of log tau", xlabel="log tau", ylabel="density", xlim=(-4.5, 4.0))
    row[2].legend(loc="upper left")
places = [f"{name},\n{way.replace('-', '-' + chr(10))}" for way, name in runs]
shades = [colors[way] for way, _ in runs]
verdicts = [one.verdict for one in found.values()]
gradients = [float(dt.sample_stats.num_grad.sum()) for dt in runs.values()]
per_gradient = [1e3 * v.ess_bulk_min / cost for v, cost in zip(verdicts, gradients, strict=True)]
axes[0, 3].bar(places, [v.rhat_max - 1 for v in verdicts], color=shades)
axes[0, 3].axhline(0.01, color="black", linestyle=":", label="limit")
axes[0, 3].set(yscale="log", title="worst R-hat", ylabel="R-hat - 1")
axes[0, 3].legend()
axes[1, 3].bar(places, per_gradient, color=shades)
axes[1, 3].set(title="what 1,000 gradients buy", ylabel="effective draws (bulk)")
for axis in axes[:, 3]:
    axis.tick_params(axis="x", labelsize=8)
figure.savefig("eight_schools.png", dpi=120)
print("\npicture: eight_schools.png")
