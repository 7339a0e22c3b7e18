"""The interface of targets, made by hand: what they offer and what they refuse."""

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.flatten_util import ravel_pytree
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import unconstrain_fn

from numpyro_score.targets import DensityTarget, Expectation, ModelTarget, moments, std_gaussian
from numpyro_score.targets.expectation import reference_expectations


def quartic(x: jax.Array) -> jax.Array:
    return -jnp.sum(x**4)


def constrained_model(num: int) -> None:
    """Sites whose order of statement is not that of their names, one of them on a simplex."""
    numpyro.sample("weights", dist.Dirichlet(jnp.ones(3)))
    low = numpyro.sample("low", dist.Normal(0.0, 1.0))
    with numpyro.plate("row", num):
        numpyro.sample("above", dist.TruncatedNormal(low, 1.0, low=low))


def discrete_model() -> None:
    numpyro.sample("coin", dist.Bernoulli(0.5))


def observed_model() -> None:
    numpyro.sample("y", dist.Normal(0.0, 1.0), obs=1.0)


def test_density_target_without_truths_or_draws() -> None:
    target = DensityTarget("quartic", "density exp(-sum x_i^4)", 3, quartic)
    assert target.expectations == ()
    assert not target.has_exact_draws
    with pytest.raises(ValueError, match="'quartic' has no exact independent draws"):
        target.sample(jax.random.key(0), 10)


def test_number_of_draws_is_checked() -> None:
    with pytest.raises(
        ValueError, match="num_samples is 0, but must be a whole number of at least 1"
    ):
        std_gaussian().sample(jax.random.key(0), 0)


def test_more_draws_of_one_key_begin_with_the_same_draws() -> None:
    few, many = (std_gaussian().sample(jax.random.key(0), n)["x"] for n in (3, 5))
    np.testing.assert_array_equal(few, many[:3])


def test_two_expectations_of_one_name_are_refused() -> None:
    twice = moments("x", np.zeros(2), np.ones(2), np.full(2, 3.0)) * 2
    with pytest.raises(ValueError, match="two expectations named 'mean' of 'x'"):
        DensityTarget("twice", "", 2, quartic, twice)


@pytest.mark.parametrize(
    ("truth", "sd", "standard_error", "message"),
    [
        (np.zeros(2), np.ones(3), np.zeros(2), r"shapes \(2,\), \(3,\) and \(2,\)"),
        (0.0, np.inf, 0.0, "must be finite"),
        (np.nan, 1.0, 0.0, "must be finite"),
        (0.0, 0.0, 0.0, "sd must be positive"),
        (0.0, 1.0, -0.1, "standard_error must be >= 0"),
    ],
)
def test_impossible_truths_are_refused(truth, sd, standard_error, message) -> None:
    with pytest.raises(ValueError, match=f"expectation 'mean' of 'x'.*{message}"):
        Expectation("mean", "x", lambda draws: draws["x"], truth, sd, standard_error)


def test_flat_position_of_a_model_is_the_raveled_unconstrained_sites() -> None:
    target = ModelTarget("constrained", "", constrained_model, (2,))
    sites = {
        "weights": jnp.array([0.2, 0.3, 0.5]),
        "low": jnp.array(0.5),
        "above": jnp.array([1.0, 2.0]),
    }
    unconstrained = unconstrain_fn(constrained_model, (2,), {}, sites)
    x, _ = ravel_pytree(unconstrained)
    assert target.dim == x.size == 5  # above 2, low 1, weights 3 - 1
    # Jacobians: d above / du = above - low; the simplex by its stick-breaking transform.
    simplex = dist.biject_to(dist.constraints.simplex)
    expected = (
        dist.Dirichlet(jnp.ones(3)).log_prob(sites["weights"])
        + simplex.log_abs_det_jacobian(unconstrained["weights"], sites["weights"])
        + dist.Normal(0.0, 1.0).log_prob(0.5)
        + jnp.sum(dist.TruncatedNormal(0.5, 1.0, low=0.5).log_prob(sites["above"]))
        + jnp.sum(jnp.log(sites["above"] - 0.5))
    )
    np.testing.assert_allclose(target.logdensity_fn(x), expected, rtol=1e-5)


def test_models_without_a_continuous_latent_site_are_refused() -> None:
    with pytest.raises(ValueError, match="discrete latent site 'coin'"):
        ModelTarget("coin", "", discrete_model)
    with pytest.raises(ValueError, match="no latent sample site"):
        ModelTarget("observed", "", observed_model)


def test_plain_density_is_sampled_as_a_numpyro_model() -> None:
    target = std_gaussian(dim=3)
    mcmc = MCMC(NUTS(target.model), num_warmup=200, num_samples=500, progress_bar=False)
    mcmc.run(jax.random.key(0), *target.model_args, **target.model_kwargs)
    draws = az.from_numpyro(mcmc).posterior["x"].values[0]
    assert draws.shape == (500, 3)
    for e in target.expectations:
        values = e.fn({"x": draws})
        spread = e.sd / np.sqrt(effective_sample_size(values[None]))
        assert np.all(np.abs(values.mean(axis=0) - e.truth) < 4.5 * spread)


def test_unknown_reference_names_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match="'nine_schools'; known are: breast_cancer, cox_process, eight_schools"
    ):
        reference_expectations("nine_schools")
