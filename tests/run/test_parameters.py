"""Parameters that no kernel samples: which are named, and which have their values by intent."""

from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.handlers import substitute

from numpyro_score.run.parameters import fixed_parameters, warn_of_parameters


def constant() -> None:
    numpyro.sample("x", dist.Normal(numpyro.param("loc", jnp.ones(2)), 1.0))


def drawn() -> None:
    """As the random weights of a network."""
    numpyro.sample("x", dist.Normal(numpyro.param("net$params", jax.random.normal), 1.0))


def with_prior() -> None:
    """As `random_flax_module`, which leaves the parameters there."""
    numpyro.param("net$params", jnp.ones(2))
    numpyro.sample("net.bias", dist.Normal(0.0, 1.0))


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (constant, ["loc"]),
        (drawn, ["net$params"]),
        (with_prior, []),
        (substitute(constant, data={"loc": jnp.zeros(2)}), []),
        (substitute(drawn, data={"net$params": jnp.zeros(())}), []),
    ],
)
def test_parameters_at_their_initial_values_are_named(model: Any, names: list[str]) -> None:
    assert fixed_parameters(model, (), {}) == names
    if names:
        with pytest.warns(UserWarning, match=rf"{names[0].replace('$', '.')} stay at their init"):
            warn_of_parameters(model, (), {})
