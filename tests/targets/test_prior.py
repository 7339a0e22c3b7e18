"""The prior of a model as a proposal: of its continuous sites, whatever else it draws."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.handlers import block

from numpyro_score.targets.numpyro_model import unconstrain
from numpyro_score.targets.prior import prior_proposal


def labelled() -> None:
    label = numpyro.sample("label", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
    x = numpyro.sample("x", dist.Normal(jnp.where(label == 1, 1.5, -0.5), 1.0))
    numpyro.sample("y", dist.Normal(x, 1.0), obs=0.9)


def test_discrete_sites_are_summed_out_of_the_prior() -> None:
    draw, log_prob = prior_proposal(labelled, (), {})
    positions, values = jax.vmap(draw)(jax.random.split(jax.random.key(0), 4_000))
    x = np.asarray(positions["x"])
    parts = [w * np.exp(-0.5 * (x - at) ** 2) for w, at in ((0.7, -0.5), (0.3, 1.5))]
    np.testing.assert_allclose(values, np.log(sum(parts) / np.sqrt(2 * np.pi)), rtol=1e-4)
    np.testing.assert_allclose(jax.vmap(log_prob)(positions), values, rtol=1e-4)
    assert set(positions) == {"x"}
    assert float(unconstrain(labelled, (), {}, {"x": 0.5})["x"]) == 0.5
    # mean 0.1, variance 1 + 0.21 * 4
    assert abs(x.mean() - 0.1) < 4.5 * np.sqrt(1.84 / x.size)


def test_a_hidden_site_is_no_part_of_a_draw() -> None:
    def hiding() -> None:
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        with block():
            hidden = numpyro.sample("hidden", dist.Normal(x, 1.0))
        numpyro.sample("y", dist.Normal(hidden, 1.0), obs=0.9)

    position, value = prior_proposal(hiding, (), {})[0](jax.random.key(0))
    assert set(position) == {"x"}
    np.testing.assert_allclose(value, dist.Normal().log_prob(position["x"]), rtol=1e-5)
