"""Which sites are centered, and that the non-centered model is the same posterior."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.handlers import scale as scaled
from numpyro.handlers import seed, substitute, trace
from numpyro.infer.util import log_density

from numpyro_score.targets.noncentered import centered_sites, noncentered


def model(y: Any) -> None:
    mean = numpyro.sample("mean", dist.Normal(0.0, 5.0))
    scale = numpyro.sample("scale", dist.HalfNormal(2.0))
    with numpyro.plate("group", 3):
        numpyro.sample("a", dist.Normal(mean, scale))
        # its support depends on nothing, but it is not of a location and a scale
        numpyro.sample("b", dist.LogNormal(mean, scale))
    t = numpyro.sample("t", dist.StudentT(4.0, mean, scale).expand([2]).to_event(1))
    numpyro.sample("y", dist.Normal(t.sum(), scale), obs=y)


def test_sites_of_a_location_and_a_scale_that_depend_on_others() -> None:
    assert centered_sites(model, (1.0,), {}) == {"a": (), "t": ("df",)}


def test_a_model_that_cannot_be_inspected_has_none() -> None:
    def numbers() -> None:
        scale = numpyro.sample("scale", dist.HalfNormal(1.0))
        numpyro.sample("x", dist.Normal(0.0, float(np.asarray(scale))))

    assert centered_sites(numbers, (), {}) == {}


def test_a_prior_that_cannot_be_drawn_from_is_no_hindrance() -> None:
    def improper() -> None:
        scale = numpyro.sample("scale", dist.ImproperUniform(dist.constraints.positive, (), ()))
        numpyro.sample("x", dist.Normal(0.0, scale))

    assert centered_sites(improper, (), {}) == {"x": ()}


def _power_prior(spread: Any) -> None:
    with scaled(scale=0.5):
        numpyro.sample("x", dist.Normal(0.0, spread))


def _series(spread: Any) -> None:
    def step(level: Any, _: Any) -> tuple[Any, None]:
        return numpyro.sample("x", dist.Normal(level, spread)), None

    scan(step, 0.0, None, length=3)


def _of_latent_class(spread: Any) -> None:
    kind = numpyro.sample("kind", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
    numpyro.sample("x", dist.Normal(kind, spread))


def _name_taken(spread: Any) -> None:
    shift = numpyro.sample("x_decentered", dist.Gamma(1.0, 1.0))
    numpyro.sample("x", dist.Normal(shift, spread))


@pytest.mark.parametrize("part", [_power_prior, _series, _of_latent_class, _name_taken])
def test_sites_that_cannot_be_computed_from_standard_ones_stay_centered(part: Any) -> None:
    def whole() -> None:
        spread = numpyro.sample("spread", dist.HalfNormal(1.0))
        part(spread)
        if part is not _name_taken:
            numpyro.sample("other", dist.Normal(0.0, spread))

    expected = {} if part is _name_taken else {"other": ()}
    assert centered_sites(whole, (), {}) == expected


@pytest.mark.parametrize("shift", [0.0, 1.3])
def test_the_density_differs_by_the_jacobian_alone(shift: float) -> None:
    other = noncentered(model, centered_sites(model, (1.0,), {}))
    latent = {"mean": 0.3 + shift, "scale": 0.7, "b": jnp.array([0.5, 1.0, 2.0])}
    standard = {
        "a_decentered": jnp.array([0.1, -1.0, 2.0]),
        "t_decentered": jnp.array([0.4, -0.2]),
    }
    filled = substitute(seed(other, jax.random.key(0)), {**latent, **standard})
    sites = trace(filled).get_trace(1.0)
    values = {name: sites[name]["value"] for name in ("a", "t")}
    centered, _ = log_density(model, (1.0,), {}, {**latent, **values})
    found, _ = log_density(other, (1.0,), {}, {**latent, **standard})
    # five elements are scaled
    np.testing.assert_allclose(found, centered + 5 * jnp.log(0.7), rtol=1e-5)
