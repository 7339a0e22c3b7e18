"""Data that are changed between two runs: draws are those of the new data, however they came in."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC, NUTS

import numpyro_score as ns

NOISE = 0.1
Y = np.zeros(20, np.float32)
KERNELS = {"mala": ns.MALA, "nuts": NUTS}

run = partial(
    ns.sample,
    rng_key=jax.random.key(0),
    num_warmup=50,
    num_samples=50,
    num_chains=4,
    progress=False,
)


def observe(y: Any) -> None:
    mu = numpyro.sample("mu", dist.Normal(0.0, 10.0))
    numpyro.sample("y", dist.Normal(mu, NOISE), obs=y)


def of_array(y: Any) -> None:
    observe(y)


def of_container(data: dict[str, list[Any]]) -> None:
    observe(data["y"][0])


def of_global() -> None:
    observe(Y)


class Holder:
    def __init__(self) -> None:
        self.y = np.zeros(20, np.float32)


def of_object(holder: Holder) -> None:
    observe(holder.y)


def mean(kernel: Any, *args: Any) -> float:
    return float(run(kernel, model_args=args).posterior["mu"].mean())


WAYS = ("array", "container", "global", "closure", "object")
# NumPyro's kernels go through the same code: one way stands for all
CASES = [
    *((way, "mala") for way in WAYS),
    ("array", "nuts"),
    *(pytest.param(way, "nuts", marks=pytest.mark.slow) for way in WAYS if way != "array"),
]


@pytest.mark.parametrize(("way", "kernel"), CASES)
def test_draws_follow_data_that_were_changed_in_place(way: str, kernel: str) -> None:
    y, holder = np.zeros(20, np.float32), Holder()
    cases: dict[str, Any] = {
        "array": (of_array, (y,), y),
        "container": (of_container, ({"y": [y]},), y),
        "global": (of_global, (), Y),
        "closure": (lambda: observe(y), (), y),
        "object": (of_object, (holder,), holder.y),
    }
    model, args, data = cases[way]
    made = KERNELS[kernel](model)
    try:
        # the posterior's sd is NOISE / sqrt(20)
        assert abs(mean(made, *args)) < 5 * NOISE
        data[:] = 5.0
        assert abs(mean(made, *args) - 5.0) < 5 * NOISE
    finally:
        data[:] = 0.0


def test_a_potential_that_reads_changed_data() -> None:
    y = np.zeros(1, np.float32)
    kernel = ns.MALA(potential_fn=lambda x: 0.5 * jnp.sum((x - y) ** 2) / NOISE**2)
    start: dict[str, Any] = {"init_params": jnp.zeros((4, 1))}
    before = run(kernel, **start).posterior["Param:0"].mean()
    y[:] = 5.0
    after = run(kernel, **start).posterior["Param:0"].mean()
    assert abs(before) < 5 * NOISE
    assert abs(after - 5.0) < 5 * NOISE


@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_a_log_density_that_reads_changed_data_of_64_bits(dtype: str) -> None:
    # what JAX converts is not the array itself
    y = np.zeros(1, dtype)
    kernel = ns.MALA(logdensity_fn=lambda x: -0.5 * jnp.sum((x - y) ** 2) / NOISE**2)
    start: dict[str, Any] = {"init_params": jnp.zeros((4, 1))}
    before = run(kernel, **start).posterior["Param:0"].mean()
    y[:] = 5
    after = run(kernel, **start).posterior["Param:0"].mean()
    assert abs(before) < 5 * NOISE
    assert abs(after - 5.0) < 5 * NOISE


def test_equal_data_compile_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, traced = ns.MALA(of_array), []
    original = type(kernel).sample

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        traced.append(1)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(type(kernel), "sample", counted)
    mean(kernel, np.ones(20, np.float32))
    num_traced = len(traced)
    mean(kernel, np.ones(20, np.float32))
    assert len(traced) == num_traced > 0


def test_mcmc_follows_changed_data() -> None:
    y = np.zeros(20, np.float32)
    mcmc = MCMC(ns.MALA(of_array), num_warmup=50, num_samples=50, progress_bar=False)
    mcmc.run(jax.random.key(0), y)
    assert abs(float(mcmc.get_samples()["mu"].mean())) < 5 * NOISE
    y[:] = 5.0
    mcmc.run(jax.random.key(0), y)
    assert abs(float(mcmc.get_samples()["mu"].mean()) - 5.0) < 5 * NOISE
