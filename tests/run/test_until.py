"""A model in place of a kernel, and runs that end when there are enough effective draws."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import numpyro_score as ns
from numpyro_score.diagnostics.verdict import judge
from numpyro_score.run.recommend import choose
from numpyro_score.run.until import looks

KEY = jax.random.key(0)


def normals(dim: int) -> None:
    numpyro.sample("x", dist.Normal(0.0, 1.0).expand([dim]).to_event(1))


def logdensity(position: Any) -> Any:
    return -0.5 * jnp.sum(position["a"] ** 2) - jnp.abs(position["b"])


@pytest.mark.parametrize(
    ("dim", "kind", "is_dense"), [(1, "MALA", False), (3, "MAMS", True), (150, "MAMS", False)]
)
def test_the_kernel_follows_from_the_number_of_coordinates(
    dim: int, kind: str, is_dense: bool
) -> None:
    choice = choose(normals, (dim,), {}, None)
    assert type(choice.kernel).__name__ == kind
    assert choice.kernel.settings["is_dense"] == is_dense
    assert choice.reason is not None
    assert choice.reason.startswith(kind)


def test_a_log_density_is_told_from_a_model_and_a_kernel_is_left_alone() -> None:
    start = {"a": jnp.zeros((4, 2)), "b": jnp.zeros(4)}
    choice = choose(logdensity, (), {}, start)
    assert choice.kernel.model is None
    assert choice.reason is not None
    assert "3 coordinates" in choice.reason

    def model() -> None:
        numpyro.sample("a", dist.Normal(0.0, 1.0).expand([2]).to_event(1))

    assert choose(model, (), {}, {"a": jnp.zeros((4, 2))}).kernel.model is not None
    kernel = ns.MALA(model)
    assert choose(kernel, (), {}, None) == (kernel, None)


def test_one_call_ends_when_there_is_enough(capsys: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ns.ConvergenceWarning)
        dt = ns.sample(normals, KEY, num_chains=8, model_args=(3,), progress=True)
    assert "no more draws are needed" in capsys.readouterr().err
    assert dt.attrs["sampler"] == "MAMS"
    assert dt.attrs["kernel_choice"].startswith("MAMS with a dense preconditioner: 3 coordinates")
    assert dt.attrs["until"] == 800
    assert dt.attrs["until_reached"] == dt.attrs["complete"] == 1
    assert dt.attrs["mean_num_steps"] >= 1
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
    with pytest.warns(ns.ConvergenceWarning, match=r"without its goal: .* of 1,000,000\. Raise"):
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
    with pytest.raises(TypeError, match="kernel is 3"):
        choose(3, (), {}, None)
    with pytest.raises(TypeError, match="MALA"):
        choose(ns.MALA, (), {}, None)
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
