"""What is compiled before the first draw, and what a second run finds again."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import numpyro_score as ns
from numpyro_score.targets import eight_schools
from numpyro_score.targets.numpyro_model import initialize

MOST_PROGRAMS = 20
"""Compilations of a first call, at most."""

SHORT: dict[str, Any] = {"num_warmup": 20, "num_samples": 20, "num_chains": 4, "progress": False}


def regression(x: Any, y: Any = None) -> None:
    slope = numpyro.sample("slope", dist.Normal(0.0, 2.0).expand([x.shape[1]]).to_event(1))
    noise = numpyro.sample("noise", dist.HalfNormal(1.0))
    with numpyro.plate("row", x.shape[0]):
        numpyro.sample("y", dist.Normal(x @ slope, noise), obs=y)


def data(seed: int, num: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(num, 2))
    return x, x @ np.array([1.0, -2.0]) + 0.3 * rng.normal(size=num)


def test_a_first_call_on_a_model_compiles_few_programs(compilations: Callable[[], int]) -> None:
    target = eight_schools()
    before = compilations()
    ns.sample(
        ns.MALA(target.model),
        jax.random.key(0),
        model_args=target.model_args,
        model_kwargs=target.model_kwargs,
        **SHORT,
    )
    assert 0 < compilations() - before <= MOST_PROGRAMS


def test_a_first_call_on_a_log_density_compiles_few_programs(
    compilations: Callable[[], int],
) -> None:
    start = jnp.zeros((4, 3))
    before = compilations()
    kernel = ns.MALA(logdensity_fn=lambda x: -0.7 * jnp.sum(x**2))
    ns.sample(kernel, jax.random.key(0), init_params=start, **SHORT)
    assert 0 < compilations() - before <= MOST_PROGRAMS


def test_a_first_call_of_a_kernel_that_draws_by_a_score_compiles_few_programs(
    compilations: Callable[[], int],
) -> None:
    score = ns.scores.GaussianMixtureScore(
        np.ones(2) / 2, np.array([[-4.0], [4.0]]), 1.1, ns.noise.VE(0.011, 17.0)
    )
    before = compilations()
    ns.sample(ns.ReverseSDE(score=score), jax.random.key(0), **{**SHORT, "num_warmup": 0})
    assert 0 < compilations() - before <= MOST_PROGRAMS


def test_a_model_is_started_by_one_program(compilations: Callable[[], int]) -> None:
    key = jax.random.key(0)
    before = compilations()
    position, _, is_valid = initialize(key, regression, data(0))
    assert compilations() - before == 1
    assert position["slope"].shape == (2,)
    assert bool(is_valid)


def test_a_second_run_compiles_nothing(compilations: Callable[[], int]) -> None:
    kernel, args = ns.MALA(regression), data(0)
    ns.sample(kernel, jax.random.key(0), model_args=args, **SHORT)
    before = compilations()
    ns.sample(kernel, jax.random.key(1), model_args=args, **{**SHORT, "num_warmup": 25})
    assert compilations() == before


def test_a_run_on_other_data_of_the_same_shapes_compiles_nothing(
    compilations: Callable[[], int],
) -> None:
    kernel = ns.MALA(regression)

    def run(args: tuple[np.ndarray, np.ndarray], **options: Any) -> Any:
        return ns.sample(kernel, jax.random.key(0), model_args=args, **SHORT, **options)

    run(data(0), jit_model_args=True)
    before = compilations()
    second = run(data(1), jit_model_args=True)
    assert compilations() == before
    np.testing.assert_array_equal(second.observed_data.y, data(1)[1])
    # the same posterior as with constants: the first steps, before rounding grows
    constant = run(data(1))
    first = [dt.warmup_posterior.slope.isel(draw=slice(3)) for dt in (second, constant)]
    np.testing.assert_allclose(first[0], first[1], rtol=1e-3)
    # other shapes are another program
    assert run(data(2, num=30), jit_model_args=True).observed_data.sizes["row"] == 30
    assert compilations() > before


def test_transforms_that_depend_on_data_are_those_of_the_run() -> None:
    def bounded(top: Any) -> None:
        numpyro.sample("x", dist.Uniform(0.0, top))

    kernel = ns.MALA(bounded)
    for top in (1.0, 100.0, 1.0):
        for jit_model_args in (False, True):
            tree = ns.sample(
                kernel,
                jax.random.key(0),
                model_args=(np.asarray(top),),
                **{**SHORT, "num_warmup": 100},
                jit_model_args=jit_model_args,
            )
            assert 0.5 * top < tree.posterior.x.max() < top


def test_a_parameter_site_keeps_its_value() -> None:
    def model() -> None:
        shift = numpyro.param("shift", jnp.asarray(3.0))
        numpyro.sample("x", dist.Normal(shift, 0.01))

    with pytest.warns(UserWarning, match="no kernel samples: shift stay at their initial values"):
        tree = ns.sample(ns.MALA(model), jax.random.key(0), **{**SHORT, "num_warmup": 100})
    assert abs(float(tree.posterior.x.mean()) - 3.0) < 0.05


def test_a_start_that_is_not_found_is_explained() -> None:
    def impossible() -> None:
        numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.factor("wall", -jnp.inf)

    with pytest.raises(ValueError, match=r"no starting point .* in 100 tries.*'wall'"):
        ns.sample(ns.MALA(impossible), jax.random.key(0), **SHORT)


def test_the_bar_says_what_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    kernel = ns.MALA(logdensity_fn=lambda x: -0.3 * jnp.sum(x**2))
    options = {**SHORT, "progress": True}
    ns.sample(kernel, jax.random.key(0), init_params=jnp.zeros((4, 3)), **options)
    shown = capsys.readouterr().err
    assert shown.index("initialising the model") < shown.index("compiling the step")
