"""What is said of a start that cannot be used: the site at fault, and what to try."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from numpyro_score.targets.numpyro_model import initialize
from numpyro_score.targets.start import check_start, nonfinite_sites

pytestmark = pytest.mark.filterwarnings("ignore:.*Out-of-support values")


def mixture(y: Any) -> None:
    """Components that are summed out; the data are seen through them."""
    loc = numpyro.sample("loc", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    with numpyro.plate("N", len(y)):
        c = numpyro.sample("c", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
        numpyro.sample("y", dist.Normal(loc[c], 1.0), obs=y)


def test_data_that_are_not_finite_are_named_in_enumerated_models() -> None:
    position, _, is_valid = initialize(jax.random.key(0), mixture, (np.ones(2),))
    assert bool(is_valid)
    assert nonfinite_sites(mixture, (np.array([1.0, np.nan]),), {}, position) == ["y"]


def test_double_precision_is_proposed_where_single_may_be_the_cause() -> None:
    def nobody(chain: int) -> list[str]:
        return []

    with pytest.raises(ValueError, match=r"try numpyro\.enable_x64\(\)"):
        check_start(jnp.asarray(jnp.nan), None, nobody)
    with pytest.raises(ValueError, match=r"gradient is not finite.*try numpyro\.enable_x64\(\)"):
        check_start(jnp.asarray(1.0), {"x": jnp.asarray(jnp.inf)}, nobody)
    with pytest.raises(ValueError, match="inside of the target's support") as caught:
        check_start(jnp.asarray(-jnp.inf), None, nobody)
    assert "enable_x64" not in str(caught.value)


@pytest.mark.usefixtures("x64")
def test_double_precision_is_not_proposed_in_double_precision() -> None:
    with pytest.raises(ValueError, match="log density is nan") as caught:
        check_start(jnp.asarray(jnp.nan), None, lambda chain: [])
    assert "enable_x64" not in str(caught.value)
