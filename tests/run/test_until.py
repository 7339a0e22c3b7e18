"""A model in place of a kernel, and runs that end when there are enough effective draws."""

import warnings
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import numpyro_score as ns
from numpyro_score.diagnostics.cost import costs
from numpyro_score.diagnostics.verdict import judge
from numpyro_score.run import forecast
from numpyro_score.run.arguments import check_model_arguments
from numpyro_score.run.forecast import LONG_STAY, longest_stay
from numpyro_score.run.recommend import choose
from numpyro_score.run.tree import SAMPLING, Chunk, Converter
from numpyro_score.run.until import Until, looks
from numpyro_score.targets import funnel

KEY = jax.random.key(0)


def normals(dim: int) -> None:
    numpyro.sample("x", dist.Normal(0.0, 1.0).expand([dim]).to_event(1))


def test_what_is_missing_or_in_the_wrong_place_is_named() -> None:
    kernel: Any = ns.MALA(lambda: None)
    with pytest.raises(TypeError, match="number of chains, such as num_chains=16"):
        ns.sample(kernel, KEY, num_warmup=10, num_samples=10)
    wrong: Any = jnp.ones(3)
    with pytest.raises(TypeError, match=r"must be a tuple .* model_args=\(x,\) for one"):
        check_model_arguments(wrong, None)
    with pytest.raises(TypeError, match="must be a dict of the model's arguments"):
        check_model_arguments((), wrong)


def test_one_call_ends_when_there_is_enough(capsys: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ns.ConvergenceWarning)
        dt = ns.sample(normals, KEY, num_chains=8, model_args=(3,), progress=True)
    assert "no more draws are needed" in capsys.readouterr().err
    assert dt.attrs["sampler"] == "MALA"
    assert dt.attrs["kernel_choice"].startswith("MALA with a dense preconditioner: 3 coordinates")
    assert dt.attrs["until"] == 800
    assert dt.attrs["until_reached"] == dt.attrs["complete"] == 1
    verdict = judge(dt)
    assert verdict.is_converged
    # not long after it was reached
    assert verdict.ess_min < 4 * 800
    assert dt.warmup_posterior.sizes["draw"] == 300


def test_draws_are_those_of_a_run_of_that_length_and_a_limit_is_kept() -> None:
    lengths: dict[str, Any] = {"num_warmup": 100, "num_chains": 4, "progress": False}
    short = ns.sample(
        ns.MALA(normals), KEY, **lengths, model_args=(2,), until=200, num_samples=2000
    )
    num_draws = short.posterior.sizes["draw"]
    assert num_draws in looks(2000, 1)
    assert num_draws < 2000
    whole = ns.sample(ns.MALA(normals), KEY, **lengths, model_args=(2,), num_samples=num_draws)
    np.testing.assert_array_equal(short.posterior["x"], whole.posterior["x"])
    with pytest.warns(ns.ConvergenceWarning, match=r"without its goal: .* of 1 M\. Raise"):
        limited = ns.sample(
            ns.MALA(normals), KEY, **lengths, model_args=(2,), until=10**6, num_samples=120
        )
    assert limited.posterior.sizes["draw"] == 120
    assert limited.attrs["until_reached"] == 0


def test_a_streamed_run_ends_too(tmp_path: Any) -> None:
    dt = ns.sample(
        ns.MALA(normals),
        KEY,
        num_warmup=100,
        num_samples=2000,
        num_chains=4,
        until=200,
        thinning=3,
        model_args=(2,),
        store=tmp_path / "run.zarr",
        progress=False,
    )
    assert dt.attrs["until_reached"] == 1
    assert dt.posterior.sizes["draw"] in looks(2000 // 3, 1)
    assert np.isfinite(dt.posterior["x"].values).all()


def test_what_cannot_be_used_is_refused() -> None:
    kernel = ns.MALA(normals)
    with pytest.raises(TypeError, match="num_warmup is missing"):
        ns.sample(kernel, KEY, num_chains=4)
    with pytest.raises(TypeError, match="num_samples is missing"):
        ns.sample(kernel, KEY, num_warmup=10, num_chains=4)
    with pytest.raises(ValueError, match="until"):
        ns.sample(kernel, KEY, num_warmup=10, num_chains=4, until=0)
    with pytest.raises(ValueError, match="resumed"):
        ns.sample(kernel, KEY, num_warmup=10, num_chains=4, until=10, resume=True, store="a.zarr")


def regression(x: Any, y: Any) -> None:
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(slope * x, 1.0), obs=y)


def test_arguments_of_the_model_in_the_wrong_place() -> None:
    """Every such call is told where they belong."""
    place = r"model_args=\(\.\.\.\), model_kwargs="
    call: Any = ns.sample
    x = jnp.ones(3)
    with pytest.raises(TypeError, match=f"kernel and rng_key by position.*{place}"):
        call(regression, KEY, x, x, num_chains=2)
    with pytest.raises(TypeError, match=f"no argument 'x'.*{place}"):
        call(regression, KEY, x=x, num_chains=2)
    with pytest.raises(TypeError, match="no argument 'num_chain'; did you mean 'num_chains'"):
        call(regression, KEY, num_chain=2, model_args=(x, x))


def test_a_model_without_its_arguments() -> None:
    """The error names the model and what it lacks, for a model and for a kernel of it."""
    message = r"regression\(x, y\) cannot be called.*'y'; give the model's arguments as model_args"
    with pytest.raises(TypeError, match=message):
        ns.sample(regression, KEY, num_chains=2, model_args=(1.0,), progress=False)
    lengths: dict[str, Any] = {"num_warmup": 2, "num_samples": 2, "num_chains": 2}
    with pytest.raises(TypeError, match=message):
        ns.sample(ns.MALA(regression), KEY, **lengths, model_args=(1.0,), progress=False)

    def at_fault(x: Any) -> None:
        raise TypeError("an argument of mine")

    with pytest.raises(TypeError, match="an argument of mine"):
        ns.sample(at_fault, KEY, num_chains=2, model_args=(1.0,), progress=False)


def test_a_funnel_restarts_non_centered(capsys: Any) -> None:
    target = funnel()
    dt = ns.sample(
        target.model,
        KEY,
        num_chains=16,
        until=400,
        model_args=target.model_args,
        model_kwargs=target.model_kwargs,
    )
    assert "non-centered: with x centered" in dt.attrs["kernel_choice"]
    assert "restarting" in capsys.readouterr().err
    assert dt.attrs["until_reached"] == 1
    # the same sites, and the standard ones beside them
    assert set(dt.posterior.data_vars) == {"v", "x", "x_decentered"}
    scale = np.exp(dt.posterior["v"].values / 2)[..., None]
    np.testing.assert_allclose(
        dt.posterior["x"].values, scale * dt.posterior["x_decentered"].values, rtol=1e-5
    )
    # known: v ~ N(0, 3^2); 400 effective draws
    assert abs(float(dt.posterior["v"].mean())) < 4 * 3 / 20


@pytest.mark.slow
def test_a_funnel_that_is_no_hierarchy_has_a_step_size_for_every_move() -> None:
    target = funnel()
    start = jax.random.normal(KEY, (64, target.dim))
    with warnings.catch_warnings():
        # what so few draws of a funnel are worth is not the question
        warnings.simplefilter("ignore", ns.ConvergenceWarning)
        dt = ns.sample(
            target.logdensity_fn,
            KEY,
            num_chains=64,
            num_samples=1_200,
            until=6_400,
            init_params=start,
        )
    assert "a step size for every move" in dt.attrs["kernel_choice"]
    # the runs with one step size are paid for too
    assert dt.attrs["num_grad_given_up"] > 64 * (400 + 600)
    assert costs(dt).gradients > dt.attrs["num_grad_given_up"]
    assert longest_stay({name: x.values for name, x in dt.posterior.items()}) < LONG_STAY


@pytest.mark.parametrize(("num_chains", "ending"), [(1, "needs at least two"), (2, "R-hat and")])
def test_one_chain_ends_by_its_effective_sample_size(num_chains: int, ending: str) -> None:
    x = np.random.default_rng(1).normal(size=(num_chains, 500, 3))
    choice = choose(normals, (3,), {}, None)
    converter = Converter(choice.kernel, (3,), {}, with_log_likelihood=False, thinning=1)
    goal = Until(100, converter, choice)
    goal.add(Chunk(SAMPLING, 0, {"x": x}, {}))
    assert goal.look()
    assert ending in goal.ending
    assert np.isnan(goal.attributes["until_rhat"]) == (num_chains == 1)


def test_chains_that_move_are_not_given_up() -> None:
    """A goal that cannot be reached is no reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ns.ConvergenceWarning)
        dt = ns.sample(normals, KEY, num_chains=8, num_samples=500, until=10**6, model_args=(3,))
    assert "every move" not in dt.attrs["kernel_choice"]
    assert dt.posterior.sizes["draw"] == 500


def test_where_few_draws_are_effective_trajectories_are_longer(capsys: Any) -> None:
    """Planted: a limit that every kernel misses."""
    with patch.multiple(forecast, SLOW=1.0, WORTH=0, FEWEST=0):
        dt = ns.sample(normals, KEY, num_chains=8, model_args=(3,))
    assert "restarting with MAMS" in capsys.readouterr().err
    assert dt.attrs["sampler"] == "MAMS"
    assert "after MALA: only one draw in " in dt.attrs["kernel_choice"]
    # its warmup and its first 100 draws
    assert costs(dt).num_grad_given_up == 8 * (300 + 100)
    assert dt.attrs["until_reached"] == 1
    assert dt.attrs["mean_num_steps"] >= 1
