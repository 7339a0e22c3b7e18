"""Bad input is refused before anything runs, with what was given and what to do."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import numpyro_score as ns
from numpyro_score.kernels.proposals import from_distribution, gaussian_random_walk

pytestmark = pytest.mark.usefixtures("unchecked")


def parabola(x: Any) -> Any:
    return -0.5 * jnp.sum(x**2)


def walk(fn: Any) -> Any:
    return ns.metropolis_hastings(fn, gaussian_random_walk(1.0))


MAKERS = {
    "metropolis_hastings": walk,
    "random_walk": lambda f: ns.random_walk(f, 0.1),
    "mala": lambda f: ns.mala(f, 0.1),
    "ula": lambda f: ns.ula(f, 0.1),
}
SCALED = {"random_walk": ns.random_walk, "mala": ns.mala, "ula": ns.ula}
ALL = {**MAKERS, "score": lambda f: ns.ula(score_fn=jax.grad(f), step_size=0.1)}


@pytest.mark.parametrize("maker", ALL)
def test_integers_have_no_gradient(maker: str) -> None:
    algorithm = ALL[maker](lambda x: parabola(x["count"]) + parabola(x["a"]))
    position = {"a": jnp.zeros(2), "count": jnp.zeros(3, int)}
    with pytest.raises(TypeError, match=r"(?s)leaf \['count'\] has type int32.*jnp.asarray"):
        algorithm.init(position)
    with pytest.raises(TypeError, match=r"leaf \(the whole\) has type int32"):
        ALL[maker](parabola).init(jnp.zeros(2, int))


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("shape", [(3,), (1,), (3, 3)])
def test_a_log_density_is_one_number(maker: str, shape: tuple[int, ...]) -> None:
    algorithm = MAKERS[maker](lambda x: jnp.zeros(shape) + jnp.sum(x))
    with pytest.raises(ValueError, match=rf"(?s)shape {re.escape(str(shape))}.*jnp.sum.*jax.vmap"):
        algorithm.init(jnp.zeros(3))


@pytest.mark.parametrize("maker", SCALED)
@pytest.mark.parametrize("temperature", [-0.5, float("nan")])
def test_temperatures_are_not_below_0(maker: str, temperature: float) -> None:
    with pytest.raises(ValueError, match=r"temperature is .* but must be 0 or more"):
        SCALED[maker](parabola, step_size=0.1, temperature=temperature)
    with pytest.raises(ValueError, match=r"temperature is .* but must be 0 or more"):
        ns.MALA(logdensity_fn=parabola, temperature=temperature)


@pytest.mark.parametrize("maker", SCALED)
@pytest.mark.parametrize("step_size", [0.0, -1.0, float("nan"), np.float32(-2)])
def test_step_sizes_are_above_0(maker: str, step_size: Any) -> None:
    with pytest.raises(ValueError, match=r"step_size is .* but must be above 0; start from 0.1"):
        SCALED[maker](parabola, step_size=step_size)


MATRICES: dict[str, tuple[Any, str]] = {
    "three axes": (np.ones((2, 2, 2)), r"shape \(2, 2, 2\).*vector \(dim,\)"),
    "not square": (np.ones((3, 2)), r"shape \(3, 2\).*square"),
    "not symmetric": ([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], "not symmetric"),
    "indefinite": ([[1.0, 2.0], [2.0, 1.0]], "smallest eigenvalue is -1.*diagonal"),
    "singular": (np.ones((2, 2)), "positive definite"),
    "not a number": ([[1.0, np.nan], [np.nan, 1.0]], "must have finite entries"),
    "0 variance": ([1.0, 0.0], "smallest is 0.*variances"),
    "negative variance": ([1.0, -2.0], "smallest is -2"),
    "infinite variance": ([1.0, np.inf], "finite entries"),
}


@pytest.mark.parametrize("maker", SCALED)
@pytest.mark.parametrize(
    "kind",
    MATRICES,
)
def test_matrices_are_covariances(maker: str, kind: str) -> None:
    matrix, message = MATRICES[kind]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        SCALED[maker](parabola, step_size=0.1, inverse_mass_matrix=np.asarray(matrix))


@pytest.mark.parametrize("maker", SCALED)
@pytest.mark.parametrize("matrix", [np.ones(4), np.eye(4), np.ones(1)])
def test_matrices_fit_the_position(maker: str, matrix: Any) -> None:
    algorithm = SCALED[maker](parabola, step_size=0.1, inverse_mass_matrix=matrix)
    with pytest.raises(ValueError, match=r"(?s)has 3 coordinates; give shape \(3,\).*ravel_pytree"):
        algorithm.init(jnp.zeros(3))


def test_ula_needs_something_to_follow() -> None:
    with pytest.raises(ValueError, match=r"give logdensity_fn, or a score_fn"):
        ns.ula()


DRIFTS: dict[str, Callable[[Any], Any]] = {
    "of another shape": lambda x: x[:2],
    "a number": lambda x: jnp.sum(x),
    "of another structure": lambda x: {"x": x},
}


@pytest.mark.parametrize("drift", DRIFTS)
def test_drifts_look_like_the_position(drift: str) -> None:
    for algorithm in (
        ns.mala(parabola, 0.1, drift_fn=DRIFTS[drift]),
        ns.ula(score_fn=DRIFTS[drift], step_size=0.1),
    ):
        with pytest.raises(ValueError, match=r"drift_fn must return a pytree like its argument"):
            algorithm.init(jnp.zeros(3))


def test_a_proposal_samples_and_evaluates() -> None:
    with pytest.raises(TypeError, match=r"ndarray lacks sample and log_prob; give a NumPyro"):
        from_distribution(np.zeros(3))
