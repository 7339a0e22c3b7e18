"""Eight schools: the effects of coaching in eight schools, in both parameterisations.

Rubin, Estimation in parallel randomized experiments (Journal of Educational Statistics 6, 1981);
priors and the two parameterisations as in posteriordb (https://github.com/stan-dev/posteriordb).
Both give the same posterior of `mu`, `tau` and `theta`, and share their reference values. The
centered one is a funnel in `(log tau, theta)`, where chains of fixed step size get stuck and a
sampler should report it.
"""

from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float

from numpyro_score.targets.base import ModelTarget
from numpyro_score.targets.expectation import reference_expectations

EFFECTS: Float[np.ndarray, "8"] = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
"""Estimated effects `y`."""
SIGMAS: Float[np.ndarray, "8"] = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
"""Their standard errors."""
MU_SD = 5.0
TAU_SCALE = 5.0

Vector = Float[Array, " school"] | Float[np.ndarray, " school"]


def eight_schools_model(sigma: Vector, y: Vector | None = None) -> None:
    """Eight schools, non-centered: `theta = mu + tau * theta_base`, `theta_base ~ N(0, 1)`.

    Parameters
    ----------
    sigma
        standard error of each school's estimate, `(school,)`.
    y
        the estimates, `(school,)`; None leaves them unobserved.

    Examples
    --------
    >>> import jax
    >>> from numpyro.infer import Predictive
    >>> Predictive(eight_schools_model, num_samples=3)(jax.random.key(0), SIGMAS)["theta"].shape
    (3, 8)
    """
    mu = numpyro.sample("mu", dist.Normal(0.0, MU_SD))
    tau = numpyro.sample("tau", dist.HalfCauchy(TAU_SCALE))
    with numpyro.plate("school", sigma.shape[0]):
        base = numpyro.sample("theta_base", dist.Normal(0.0, 1.0))
        theta = numpyro.deterministic("theta", mu + tau * base)
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def eight_schools_centered_model(sigma: Vector, y: Vector | None = None) -> None:
    """Eight schools, centered: `theta ~ N(mu, tau)`.

    Parameters
    ----------
    sigma
        standard error of each school's estimate, `(school,)`.
    y
        the estimates, `(school,)`; None leaves them unobserved.

    Examples
    --------
    >>> import jax
    >>> from numpyro.infer import Predictive
    >>> Predictive(eight_schools_centered_model, num_samples=3)(jax.random.key(0), SIGMAS)[
    ...     "y"
    ... ].shape
    (3, 8)
    """
    mu = numpyro.sample("mu", dist.Normal(0.0, MU_SD))
    tau = numpyro.sample("tau", dist.HalfCauchy(TAU_SCALE))
    with numpyro.plate("school", sigma.shape[0]):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def _target(name: str, theta: str, model: Any) -> ModelTarget:
    return ModelTarget(
        name=name,
        description=(
            f"mu ~ N(0, sd {MU_SD:g}), tau ~ HalfCauchy({TAU_SCALE:g}), {theta}, "
            "y ~ N(theta, sd sigma), 8 schools"
        ),
        model=model,
        model_args=(SIGMAS.copy(),),
        model_kwargs={"y": EFFECTS.copy()},
        expectations=reference_expectations("eight_schools"),
    )


def eight_schools() -> ModelTarget:
    """The posterior of eight schools, non-centered; reference values by quadrature.

    `mu ~ N(0, 5)` (sd), `tau ~ HalfCauchy(5)`, `theta = mu + tau * theta_base`,
    `theta_base ~ N(0, 1)`, `y ~ N(theta, sigma)` (sd).

    Examples
    --------
    >>> mean_mu = eight_schools().expectations[0]
    >>> mean_mu.name, mean_mu.variable, round(float(mean_mu.truth), 2)
    ('mean', 'mu', 4.4)
    """
    return _target(
        "eight_schools", "theta = mu + tau theta_base, theta_base ~ N(0, 1)", eight_schools_model
    )


def eight_schools_centered() -> ModelTarget:
    """The posterior of eight schools, centered: `theta ~ N(mu, tau)` (sd).

    The rest is as in `eight_schools`.

    Examples
    --------
    >>> eight_schools_centered().dim
    10
    """
    return _target("eight_schools_centered", "theta ~ N(mu, sd tau)", eight_schools_centered_model)
