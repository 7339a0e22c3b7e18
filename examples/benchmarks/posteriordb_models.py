"""NumPyro models of eight posteriors of posteriordb, for a folder of their data files.

The data are not part of this project: give the folder that holds `reference.json` (name -> file,
names of the parameters, their means and sds) and `data/*.json`. The names of the sites, with an
index in brackets, are those of the reference.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints

FLAT = dist.ImproperUniform(constraints.real, (), ())
FLAT_POSITIVE = dist.ImproperUniform(constraints.positive, (), ())


class Posterior(NamedTuple):
    """A model with its data bound, and the mean and sd of each parameter.

    Attributes
    ----------
    name
        As in posteriordb, without the name of the data.
    model
        Called without arguments.
    mean, sd, error
        Parameter, such as `beta[1]` (counted from 1), -> value; `error` is the standard error of
        the mean, 0 where it is from quadrature.
    num_reference
        Effective draws behind the sds; infinite for quadrature.
    """

    name: str
    model: Callable[[], None]
    mean: dict[str, float]
    sd: dict[str, float]
    error: dict[str, float]
    num_reference: float


def regression(x: Any, y: Any) -> None:
    """Normal regression with flat priors."""
    beta = numpyro.sample("beta", FLAT.expand([x.shape[1]]).to_event(1))
    sigma = numpyro.sample("sigma", FLAT_POSITIVE)
    numpyro.sample("y", dist.Normal(jnp.asarray(x) @ beta, sigma), obs=y)


def schools(y: Any, sigma: Any) -> None:
    """Eight schools, non-centered."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([len(y)]).to_event(1))
    theta = numpyro.deterministic("theta", mu + tau * z)
    numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def autoregression(lags: Any, y: Any) -> None:
    """AR(K) from the (K + 1)-th point on."""
    alpha = numpyro.sample("alpha", dist.Normal(0.0, 10.0))
    beta = numpyro.sample("beta", dist.Normal(0.0, 10.0).expand([lags.shape[1]]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
    numpyro.sample("y", dist.Normal(alpha + jnp.asarray(lags) @ beta, sigma), obs=y)


def normal_mixture(y: Any) -> None:
    """Two normals with ordered means."""
    prior = dist.Normal(0.0, 2.0).expand([2]).to_event(1)
    ordered = dist.ImproperUniform(constraints.ordered_vector, (), (2,))
    mu = numpyro.sample("mu", ordered)
    numpyro.factor("prior_of_mu", prior.log_prob(mu))
    sigma = numpyro.sample("sigma", dist.HalfNormal(2.0).expand([2]).to_event(1))
    theta = numpyro.sample("theta", dist.Beta(5.0, 5.0))
    parts = dist.Normal(mu, sigma).log_prob(jnp.asarray(y)[:, None])
    both = parts + jnp.log(jnp.stack([theta, 1 - theta]))
    numpyro.factor("y", jnp.sum(jnp.logaddexp(both[:, 0], both[:, 1])))


def gaussian_process(x: Any, y: Any) -> None:
    """Gaussian process regression; `sigma` is added to the diagonal as it is."""
    rho = numpyro.sample("rho", dist.Gamma(25.0, 4.0))
    alpha = numpyro.sample("alpha", dist.HalfNormal(2.0))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    squared = (x[:, None] - x) ** 2
    covariance = alpha**2 * jnp.exp(-squared / (2 * rho**2)) + sigma * jnp.eye(len(x))
    numpyro.sample("y", dist.MultivariateNormal(0.0, covariance), obs=y)


def _columns(*columns: Any) -> np.ndarray:
    return np.stack([np.ones(len(columns[0])), *columns], axis=1)


def _halved(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / (2 * x.std(ddof=1))


def _kidscore(data: dict[str, np.ndarray]) -> Callable[[], None]:
    high_school, iq = _halved(data["mom_hs"]), _halved(data["mom_iq"])
    x = _columns(high_school, iq, high_school * iq)
    return partial(regression, x, data["kid_score"])


def _mesquite(data: dict[str, np.ndarray]) -> Callable[[], None]:
    area = data["diam1"] * data["diam2"]
    logs = [area * data["canopy_height"], area, data["diam1"] / data["diam2"], data["total_height"]]
    return partial(regression, _columns(*map(np.log, logs), data["group"]), np.log(data["weight"]))


def _nes(data: dict[str, np.ndarray]) -> Callable[[], None]:
    ages = [(data["age_discrete"] == level).astype(float) for level in (2, 3, 4)]
    others = [data[name] for name in ("educ1", "gender", "income")]
    x = _columns(data["real_ideo"], data["race_adj"], *ages, *others)
    return partial(regression, x, data["partyid7"])


def _earnings(data: dict[str, np.ndarray]) -> Callable[[], None]:
    height, male = data["height"], data["male"]
    return partial(regression, _columns(height, male, height * male), np.log(data["earn"]))


def _ark(data: dict[str, np.ndarray]) -> Callable[[], None]:
    y, order = data["y"], int(data["K"])
    lags = np.stack([y[order - k : len(y) - k] for k in range(1, order + 1)], axis=1)
    return partial(autoregression, lags, y[order:])


MAKERS: dict[str, Callable[[dict[str, np.ndarray]], Callable[[], None]]] = {
    "eight_schools_noncentered": lambda data: partial(schools, data["y"], data["sigma"]),
    "kidscore_interaction_z": _kidscore,
    "logmesquite_logvash": _mesquite,
    "nes": _nes,
    "arK": _ark,
    "low_dim_gauss_mix": lambda data: partial(normal_mixture, data["y"]),
    "logearn_interaction": _earnings,
    "gp_regr": lambda data: partial(gaussian_process, data["x"], data["y"]),
}


def load(folder: str | Path) -> dict[str, Posterior]:
    """The posteriors of a folder for which there is a model here, by name.

    Parameters
    ----------
    folder
        With `reference.json` and `data/*.json`.
    """
    folder = Path(folder)
    found = {}
    for full_name, entry in json.loads((folder / "reference.json").read_text()).items():
        name = full_name.split("-", 1)[1]
        if name not in MAKERS:
            continue
        raw = json.loads((folder / "data" / entry["data"]).read_text())
        model = MAKERS[name]({key: np.asarray(value, float) for key, value in raw.items()})
        exact, names = entry.get("exact"), entry["names"]
        if exact:
            mean, sd, error = exact["mean"], exact["sd"], [0.0] * len(names)
            names = exact["names"]
        else:
            mean, sd, error = entry["draws_mean"], entry["draws_sd"], entry["draws_mcse_mean"]
        found[name] = Posterior(
            name,
            model,
            dict(zip(names, mean, strict=True)),
            dict(zip(names, sd, strict=True)),
            dict(zip(names, error, strict=True)),
            np.inf if exact else 10_000.0,
        )
    return found
