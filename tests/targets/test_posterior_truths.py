"""The stored truths of posteriors: against quadrature, and against a short run."""

import json
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer import log_likelihood
from scipy import integrate, special, stats

from numpyro_score.targets import breast_cancer, eight_schools, eight_schools_centered
from numpyro_score.targets.hierarchical import EFFECTS, SIGMAS
from numpyro_score.targets.regression import breast_cancer_data


def joint_gaussian(tau: float) -> tuple[float, np.ndarray, np.ndarray]:
    """`p(y | tau)`, and mean and covariance of `(mu, theta)` given `tau` and `y`, by conditioning.

    The prior of `(mu, theta)` given `tau` is Gaussian and `y` is `theta` with noise: no formula of
    the hierarchical model is used but its definition.
    """
    prior = 25.0 + np.zeros((9, 9))
    prior[1:, 1:] += tau**2 * np.eye(8)
    noisy = prior[1:, 1:] + np.diag(SIGMAS**2)
    gain = np.linalg.solve(noisy, prior[1:]).T
    evidence = np.exp(stats.multivariate_normal.logpdf(EFFECTS, cov=noisy))
    return float(evidence), gain @ EFFECTS, prior - gain @ prior[1:]


def eight_schools_by_quad(tau_scale: float = 5.0) -> dict[str, np.ndarray]:
    """Means and second moments of `(tau, mu, theta)` by adaptive quadrature over tau."""

    def integrand(u: float) -> np.ndarray:
        tau = np.tan(u) * tau_scale  # u uniform on (0, pi/2) is the half-Cauchy prior
        evidence, mean, covariance = joint_gaussian(tau)
        second = mean**2 + np.diag(covariance)
        return evidence * np.concatenate([[1, tau, tau**2], mean, second])

    total, _ = integrate.quad_vec(integrand, 0, np.pi / 2, epsrel=1e-9)
    total = total / total[0]
    return {
        "mean of tau": total[1],
        "second_moment of tau": total[2],
        "mean of mu": total[3],
        "mean of theta": total[4:12],
        "second_moment of mu": total[12],
        "second_moment of theta": total[13:],
    }


def test_eight_schools_truths_are_those_of_quadrature() -> None:
    by_quad = eight_schools_by_quad()
    expectations = eight_schools().expectations
    assert {f"{e.name} of {e.variable}" for e in expectations} == set(by_quad)
    for e in expectations:
        expected = by_quad[f"{e.name} of {e.variable}"]
        np.testing.assert_allclose(e.truth, expected, rtol=1e-7)
        assert not e.standard_error.any()
        if e.name == "mean":
            second = by_quad[f"second_moment of {e.variable}"]
            np.testing.assert_allclose(e.sd, np.sqrt(second - expected**2), rtol=1e-7)
    # Another prior scale is another posterior.
    other = eight_schools_by_quad(tau_scale=4.0)
    assert abs(other["mean of tau"] / by_quad["mean of tau"] - 1) > 0.03


def test_both_parameterisations_are_one_posterior() -> None:
    with jax.enable_x64(True):
        mu, log_tau = 3.0, 0.7
        base = jnp.linspace(-1.0, 1.5, 8)
        noncentered = jnp.concatenate([jnp.array([mu, log_tau]), base])
        theta = mu + jnp.exp(log_tau) * base
        centered = jnp.concatenate([jnp.array([mu, log_tau]), theta])
        np.testing.assert_allclose(
            eight_schools().logdensity_fn(noncentered),
            eight_schools_centered().logdensity_fn(centered) + 8 * log_tau,
            rtol=1e-10,
        )


@pytest.mark.parametrize("make", [eight_schools, eight_schools_centered])
def test_eight_schools_density_is_that_of_its_definition(make) -> None:
    target = make()
    mu, log_tau, z = 2.0, 1.1, np.linspace(-1, 1, 8)
    tau = np.exp(log_tau)
    theta = mu + tau * z if target.name == "eight_schools" else z
    last = stats.norm.logpdf(z) if target.name == "eight_schools" else stats.norm.logpdf(z, mu, tau)
    expected = (
        stats.norm.logpdf(mu, 0, 5)
        + stats.halfcauchy.logpdf(tau, scale=5)
        + log_tau
        + last.sum()
        + stats.norm.logpdf(EFFECTS, theta, SIGMAS).sum()
    )
    with jax.enable_x64(True):
        x = jnp.concatenate([jnp.array([mu, log_tau]), jnp.asarray(z)])
        np.testing.assert_allclose(target.logdensity_fn(x), expected, rtol=1e-10)


def test_breast_cancer_density_is_that_of_its_definition() -> None:
    covariates, labels = breast_cancer_data()
    np.testing.assert_allclose(covariates.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(covariates.std(axis=0), 1)
    position = np.random.default_rng(0).normal(size=31) / 3  # beta, then intercept
    logits = covariates @ position[:30] + position[30]
    expected = (
        stats.norm.logpdf(position).sum()
        + np.log(special.expit(np.where(labels == 1, logits, -logits))).sum()
    )
    with jax.enable_x64(True):
        value = breast_cancer().logdensity_fn(jnp.asarray(position))
        np.testing.assert_allclose(value, expected, rtol=1e-10)


def test_breast_cancer_truths_agree_with_importance_sampling() -> None:
    """Draws from a Student t around the stated means, shaped by the curvature there; no chain.

    The weights correct for all of the proposal, so that the stated means, if wrong, do not pass.
    """
    target = breast_cancer()
    by_name = {(e.name, e.variable): e for e in target.expectations}
    beta, intercept = by_name["mean", "beta"], by_name["mean", "intercept"]
    centre = np.append(beta.truth, intercept.truth)
    num, dof, wider = 40_000, 10, 1.05
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        hessian = jax.jit(jax.hessian(target.logdensity_fn))(jnp.asarray(centre))
        root = wider * np.linalg.cholesky(np.linalg.inv(-np.asarray(hessian)))
        z = rng.normal(size=(num, 31)) / np.sqrt(rng.chisquare(dof, size=(num, 1)) / dof)
        x = centre + z @ root.T
        log_weight = np.asarray(jax.jit(jax.vmap(target.logdensity_fn))(jnp.asarray(x)))
    log_weight = log_weight + (dof + 31) / 2 * np.log1p((z**2).sum(axis=1) / dof)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    assert 1 / np.sum(weight**2) > 10_000  # effective draws
    draws = {"beta": x[:, :30], "intercept": x[:, 30]}
    for e in target.expectations:
        values = e.fn(draws)
        estimate = weight @ values
        spread = np.hypot(np.sqrt(weight**2 @ (values - estimate) ** 2), e.standard_error)
        assert np.max(np.abs(estimate - e.truth) / spread) < 4.5, (e.name, e.variable)
        # Truths wrong by a tenth of an sd are seen.
        assert np.min(np.abs(estimate - e.truth - 0.1 * e.sd) / spread) > 4.5, (e.name, e.variable)
        sd = np.sqrt(weight @ (values - estimate) ** 2)
        np.testing.assert_allclose(e.sd, sd, rtol=0.05)


def test_observed_sites_have_a_pointwise_log_likelihood() -> None:
    for target, site in ((eight_schools(), "theta_base"), (breast_cancer(), "beta")):
        size = {"theta_base": 8, "beta": 30}[site]
        draws = {site: jnp.zeros((2, size))}
        draws |= {name: jnp.ones(2) for name in ("mu", "tau", "intercept")}
        pointwise = log_likelihood(target.model, draws, *target.model_args, **target.model_kwargs)
        assert {name: value.shape for name, value in pointwise.items()} == {
            "y": (2, len(target.model_kwargs["y"]))
        }


@pytest.mark.parametrize("name", ["eight_schools", "breast_cancer"])
def test_reference_says_how_it_was_made(name: str) -> None:
    file = resources.files("numpyro_score.targets") / "reference" / f"{name}.json"
    stored = json.loads(file.read_text(encoding="utf-8"))
    how = stored["how"]
    assert how["made_by"] == "examples/make_reference_moments.py"
    assert {"kernel", "draws", "seed", "versions"} <= set(how)
    assert how["draws"] >= 1_000_000
    (checks,) = (value for key, value in stored.items() if key.startswith("checked"))
    assert max(checks.values()) < 4.5
    for row in stored["expectations"]:
        error, sd = np.asarray(row["standard_error"]), np.asarray(row["sd"])
        assert np.all(error <= 2e-3 * sd)
