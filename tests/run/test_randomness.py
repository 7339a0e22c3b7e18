"""Random numbers that a model draws itself: which change its density, and which do not."""

from typing import Any

import jax
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.handlers import block

from numpyro_score.run.randomness import depends_on_keys, warn_of_randomness
from numpyro_score.targets import eight_schools


def keyed() -> None:
    numpyro.sample("x", dist.Normal(jax.random.normal(numpyro.prng_key()), 1.0))


def hiding() -> None:
    with block(hide=["hidden"]):
        hidden = numpyro.sample("hidden", dist.Normal(0.0, 1.0))
    numpyro.sample("x", dist.Normal(hidden, 1.0))


def unused() -> None:
    """As `random_flax_module`, whose weights have priors in place of initial values."""
    jax.random.normal(numpyro.prng_key())
    numpyro.sample("x", dist.Normal(0.0, 1.0))


@pytest.mark.parametrize("model", [keyed, hiding])
def test_random_numbers_in_the_density_are_warned_of(model: Any) -> None:
    with pytest.warns(UserWarning, match="random numbers.*same fixed draw"):
        warn_of_randomness(model, (), {})


def test_others_are_not() -> None:
    target = eight_schools()
    assert not depends_on_keys(unused, (), {})
    assert not depends_on_keys(target.model, target.model_args, target.model_kwargs)
