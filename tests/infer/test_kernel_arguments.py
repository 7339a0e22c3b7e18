"""Bad input to NumPyro kernels is refused with what was given and what to do, sites by name."""

import re
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.handlers import block

import numpyro_score as ns
from numpyro_score.infer import NumPyroKernel
from numpyro_score.kernels.proposals import gaussian_random_walk

pytestmark = pytest.mark.usefixtures("unchecked")


def model(y: Any = None) -> None:
    loc = numpyro.sample("loc", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))
    numpyro.sample("y", dist.Normal(loc.sum(), scale), obs=y)


def parabola(x: Any) -> Any:
    return -0.5 * jnp.sum(x**2)


def init(kernel: NumPyroKernel, start: Any = None, *args: Any) -> Any:
    return kernel.init(jax.random.key(0), 10, start, args, {})


CLASSES: dict[str, Any] = {
    "MetropolisHastings": lambda *a, **k: ns.MetropolisHastings(
        *a, proposal=gaussian_random_walk(1.0), **k
    ),
    "RandomWalkMetropolis": ns.RandomWalkMetropolis,
    "MALA": ns.MALA,
    "ULA": ns.ULA,
    "BlackJAXKernel": lambda *a, **k: ns.BlackJAXKernel(blackjax.barker, *a, **k),
}
every_class = pytest.mark.parametrize("name", CLASSES)


@every_class
def test_one_thing_to_sample(name: str) -> None:
    make = CLASSES[name]
    with pytest.raises(ValueError, match=rf"{name} needs exactly one of model.*but got none"):
        make()
    with pytest.raises(ValueError, match="but got model and logdensity_fn"):
        make(model, logdensity_fn=parabola)
    with pytest.raises(ValueError, match="but got potential_fn and logdensity_fn"):
        make(potential_fn=parabola, logdensity_fn=parabola)
    with pytest.raises(TypeError, match="model must be callable, but is a float"):
        make(3.0)


@every_class
def test_without_a_model_there_must_be_a_start(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} without a model .*give init_params to run\(\)"):
        init(CLASSES[name](logdensity_fn=parabola))


SCALED = {"RandomWalkMetropolis": ns.RandomWalkMetropolis, "MALA": ns.MALA, "ULA": ns.ULA}
every_scaled = pytest.mark.parametrize("name", SCALED)


@every_scaled
def test_parameters_of_the_proposal(name: str) -> None:
    make = SCALED[name]
    for step_size in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"step_size is .* but must be above 0"):
            make(model, step_size=step_size)
    with pytest.raises(ValueError, match="smallest is -1"):
        make(model, inverse_mass_matrix=np.array([1.0, -1.0]))
    with pytest.raises(ValueError, match="positive definite"):
        make(model, inverse_mass_matrix=np.ones((3, 3)))
    with pytest.raises(ValueError, match=r"shape \(4,\) but the position has 3 coordinates"):
        init(make(model, inverse_mass_matrix=np.ones(4)), None, 1.0)
    with pytest.raises(TypeError, match="blocks of sites are not supported"):
        make(model, dense_mass=[("loc", "scale")])
    with pytest.raises(TypeError, match="blocks of sites are not supported"):
        make(model, inverse_mass_matrix={("loc",): np.ones(2)})


@pytest.mark.parametrize("make", [ns.RandomWalkMetropolis, ns.MALA])
@pytest.mark.parametrize("rate", [0.0, 1.0, -0.3, 57.4, float("nan")])
def test_acceptance_is_a_probability(make: Any, rate: float) -> None:
    with pytest.raises(ValueError, match=r"target_accept_prob is .* between 0 and 1; 0\.\d+ is"):
        make(model, target_accept_prob=rate)


def test_ula_cannot_be_tuned_by_acceptance() -> None:
    with pytest.raises(ValueError, match=r"(?s)ULA accepts every move.*give step_size.*MALA"):
        ns.ULA(model, adapt_step_size=True)
    with pytest.raises(ValueError, match=r"(?s)score_fn.*give inverse_mass_matrix"):
        ns.ULA(score_fn=lambda x: -x, adapt_mass_matrix=True)
    with pytest.raises(TypeError, match="target_accept_prob"):
        ns.ULA(model, target_accept_prob=0.5)  # type: ignore[call-arg]


DENSITIES: dict[str, tuple[Any, str]] = {
    "not a number": (lambda x: jnp.nan * jnp.sum(x), "log density is nan at the start"),
    "outside": (lambda x: jnp.where(x[0] > 1, parabola(x), -jnp.inf), "log density is -inf"),
    "infinite": (lambda x: parabola(x) + jnp.inf, "log density is inf"),
    "a vector": (lambda x: -(x**2), r"shape \(2,\) but must be a scalar"),
    "an integer": (lambda x: -jnp.sum(x.astype(int) ** 2), "has type int32 but must be a floating"),
    "nothing": (lambda x: None, "returned None"),
    "of NumPy": (lambda x: -np.sum(np.asarray(x) ** 2), "makes a NumPy array of the position"),
}


@every_class
@pytest.mark.parametrize("kind", DENSITIES)
def test_densities_at_the_start(name: str, kind: str) -> None:
    fn, message = DENSITIES[kind]
    with pytest.raises((ValueError, TypeError), match=message):
        init(CLASSES[name](logdensity_fn=fn), jnp.zeros(2))


def test_an_error_of_the_model_is_left_as_it_is() -> None:
    def broken(y: Any) -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory") as caught:
        init(ns.MALA(broken), None, 1.0)
    assert "DiscreteGibbs" not in str(caught.value)


def test_gradients_at_the_start() -> None:
    with pytest.raises(ValueError, match="gradient is not finite at the start"):
        init(ns.MALA(logdensity_fn=lambda x: -jnp.sqrt(jnp.abs(x).sum())), jnp.zeros(2))


def test_the_chain_is_named() -> None:
    kernel = ns.MALA(logdensity_fn=lambda x: jnp.where(x > 1, -jnp.inf, -(x**2)))
    with pytest.raises(ValueError, match=r"-inf at chain 2's start"):
        kernel.init(
            jax.random.split(jax.random.key(0), 4), 0, jnp.array([0.0, 0.5, 3.0, 0.1]), (), {}
        )


@pytest.mark.filterwarnings("ignore:Out-of-support values")  # NumPyro's, of the NaN
@every_class
def test_sites_at_fault_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"not finite at site 'y'.*Check the data for NaN"):
        init(CLASSES[name](model), None, jnp.nan)

    start = {"loc": jnp.array([0.0, 1e30]), "scale": jnp.array(0.0)}
    with pytest.raises(ValueError, match=r"at the start \(site .*'loc'"):
        init(CLASSES[name](model), start, 1.0)


@every_class
def test_starts_look_like_the_sites(name: str) -> None:
    for start in (
        {"loc": jnp.zeros(3), "scale": jnp.zeros(())},
        {"loc": jnp.zeros(2)},
        jnp.zeros(3),
    ):
        with pytest.raises(ValueError, match=r"(?s)init_params has shapes.*every latent site"):
            init(CLASSES[name](model), start, 1.0)
    batch = {"loc": jnp.zeros((3, 2)), "scale": jnp.zeros(3)}
    keys = jax.random.split(jax.random.key(0), 2)
    with pytest.raises(ValueError, match=r"(?s)init_params has shapes.*leading chain axis"):
        CLASSES[name](model).init(keys, 0, batch, (1.0,), {})


@every_class
def test_there_must_be_something_to_sample(name: str) -> None:
    with pytest.raises(ValueError, match="no continuous latent site"):
        init(CLASSES[name](block(model, hide=["loc", "scale"])), None, 1.0)


def test_discrete_sites_are_named() -> None:
    def counting() -> None:
        rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
        numpyro.sample("how_many", dist.Poisson(rate))

    with pytest.raises(ValueError, match=r"how_many.*DiscreteGibbs"):
        init(ns.RandomWalkMetropolis(counting))


def test_independence_needs_a_proposal() -> None:
    with pytest.raises(ValueError, match=r"(?s)no prior to propose from; give proposal="):
        ns.IndependenceMetropolis(logdensity_fn=parabola)
    with pytest.raises(TypeError, match=r"lacks sample and log_prob"):
        ns.IndependenceMetropolis(model, proposal=3.0)

    def improper() -> None:
        numpyro.sample("flat", dist.ImproperUniform(dist.constraints.real, (), ()))
        numpyro.factor("likelihood", 0.0)

    kernel = ns.IndependenceMetropolis(improper)
    with pytest.raises(ValueError, match=r"improper; give proposal="):
        kernel.sample(init(kernel), (), {})


BLACKJAX: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "no algorithm": (
        blackjax.hmc(parabola, 0.1, jnp.ones(2), 3),
        {},
        TypeError,
        "GenerateSamplingAPI.*is a SamplingAlgorithm; give the algorithm itself",
    ),
    "a parameter missing": (
        blackjax.hmc,
        {},
        ValueError,
        re.escape("needs 'num_integration_steps'; give parameters={'num_integration_steps'"),
    ),
    "one unknown": (
        blackjax.hmc,
        {"parameters": {"num_integration_steps": 3, "length": 2}},
        TypeError,
        "no parameter 'length'; it takes 'step_size'",
    ),
    "a fixed one to adapt": (
        blackjax.barker,
        {"parameters": {"step_size": 0.1}, "adapt_step_size": True},
        ValueError,
        "step_size cannot be adapted",
    ),
    "a missing one to adapt": (
        blackjax.mala,
        {"adapt_mass_matrix": True},
        ValueError,
        "inverse_mass_matrix cannot be adapted",
    ),
}


@pytest.mark.parametrize("kind", BLACKJAX)
def test_blackjax_algorithms(kind: str) -> None:
    algorithm, options, error, message = BLACKJAX[kind]
    with pytest.raises(error, match=message):
        ns.BlackJAXKernel(algorithm, model, **options)


def test_no_acceptance_to_adapt_by() -> None:
    kernel = ns.BlackJAXKernel(blackjax.mclmc, model, parameters={"L": 1.0}, exact=False)
    with pytest.raises(ValueError, match=r'no acceptance rate.*parameters=\{"step_size"'):
        kernel.sample(init(kernel, None, 1.0), (1.0,), {})


def test_wrap_model_needs_a_model() -> None:
    with pytest.raises(ValueError, match=r"wrap_model needs a kernel that was built on a NumPyro"):
        ns.MALA(logdensity_fn=parabola).wrap_model(lambda m: m)


def test_supports_that_depend_on_sites_are_refused_in_gibbs() -> None:
    from numpyro.infer import Gibbs

    def nested() -> None:
        low = numpyro.sample("low", dist.Normal(0.0, 1.0))
        numpyro.sample("above", dist.TruncatedNormal(0.0, 1.0, low=low))

    kernel = Gibbs([(ns.MALA(nested), ["above"]), (ns.RandomWalkMetropolis(nested), ["low"])])
    with pytest.raises(ValueError, match=r"support of a site depends on another site"):
        kernel.init(jax.random.key(0), 0, None, (), {})


@pytest.mark.parametrize(
    ("make", "given", "meant"),
    [
        (ns.MALA, "stepsize", "step_size"),
        (ns.MAMS, "local_stepsize", "local_step_size"),
        (ns.ULA, "tempreature", "temperature"),
        (ns.UnderdampedLangevin, "frictoin", "friction"),
        (ns.RandomWalkMetropolis, "dense_mas", "dense_mass"),
        (ns.GlobalLocal, "n_particles", "num_particles"),
        (ns.ScoreMetropolis, "n_nodes", "num_nodes"),
    ],
)
def test_a_misspelled_option_names_the_kernel_and_the_option(
    make: Any, given: str, meant: str
) -> None:
    message = f"{make.__name__} has no argument '{given}'; did you mean '{meant}'.*step_size"
    with pytest.raises(TypeError, match=message):
        make(model, **{given: 1})
