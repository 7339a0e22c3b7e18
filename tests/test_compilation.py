"""Options of XLA: fewer optimizations of loops on a CPU, unless the user has chosen."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from numpyro_score import compilation
from numpyro_score.compilation import LOOPS, ONCE, at_once, compiled_loop, loop_options
from numpyro_score.targets.numpyro_model import initialize


@pytest.fixture
def users_defaults(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What users have: no flags, all optimizations; tests have fewer."""
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.mark.usefixtures("users_defaults")
def test_loops_on_a_cpu_have_a_lower_level_unless_the_user_chose_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert loop_options() == LOOPS
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=3")
    assert loop_options() == {}
    monkeypatch.delenv("XLA_FLAGS")
    jax.config.update("jax_disable_most_optimizations", True)
    assert loop_options() == ONCE


@pytest.mark.usefixtures("users_defaults")
def test_accelerators_keep_their_own_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation.jax, "default_backend", lambda: "gpu")
    assert loop_options() == {}


@pytest.mark.usefixtures("users_defaults")
def test_a_loop_is_compiled_with_the_options_and_once() -> None:
    given: list[Any] = []

    def jit(fn: Callable[..., Any], compiler_options: Any) -> Callable[..., Any]:
        given.append(compiler_options)
        return jax.jit(fn, compiler_options=compiler_options)

    @compiled_loop(jit)
    def double(x: Any) -> Any:
        """Twice."""
        return 2 * x

    assert not given
    assert [float(double(1.5)), float(double(2.0))] == [3.0, 4.0]
    assert given == [LOOPS]
    assert double.__doc__ == "Twice."


def test_a_rule_that_needs_values_is_called_with_them() -> None:
    assert at_once(lambda x: float(x) + 1, jnp.ones(())) == 2.0


def test_a_rule_is_one_program(compilations: Callable[[], int]) -> None:
    x = jnp.arange(3.0)
    before = compilations()
    assert at_once(lambda x: 2 * x**2 + 1, x).tolist() == [1.0, 3.0, 9.0]
    assert compilations() - before == 1


def test_a_part_of_a_program_has_no_options_of_its_own() -> None:
    @compiled_loop(jax.jit)
    def double(x: Any) -> Any:
        return 2 * x

    def whole(x: Any) -> Any:
        # what is known while tracing is a part of the program too
        return double(x) + double(1.0) + at_once(lambda y: 3 * y, jnp.ones(()))

    assert float(jax.jit(whole)(jnp.ones(()))) == 7.0
    assert jax.vmap(whole)(jnp.arange(2.0)).tolist() == [5.0, 7.0]
    assert float(jax.grad(whole)(1.0)) == 2.0


def test_a_model_is_started_within_a_program_too() -> None:
    def model() -> None:
        numpyro.sample("x", dist.Normal(0.0, 1.0))

    key = jax.random.key(0)
    alone = initialize(key, model)[0]["x"]
    within = jax.jit(lambda y: initialize(key, model)[0]["x"] + y)(0.0)
    many = jax.vmap(lambda key: initialize(key, model)[0]["x"])(key[None])
    np.testing.assert_allclose(within, alone, rtol=1e-6)
    np.testing.assert_allclose(many[0], alone, rtol=1e-6)


def test_blackjax_may_be_imported_within_a_program() -> None:
    """In a process of its own: elsewhere BlackJAX has been imported."""
    code = """
import inspect, jax, sys
import numpyro_score as ns
kernel = ns.MAMS(logdensity_fn=lambda x: -x @ x)
start = jax.numpy.ones((4, 2))
ns.sample(kernel, jax.random.key(0), num_warmup=2, num_samples=2, num_chains=4,
          init_params=start, progress=False)
assert "blackjax" in sys.modules
from blackjax.adaptation.step_size import bisection_monotonic_fn
print(float(inspect.signature(bisection_monotonic_fn).parameters["reduce_shift"].default))
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(np.log(2.0))
