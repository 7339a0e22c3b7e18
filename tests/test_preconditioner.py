"""The preconditioner: `L L^T = P`, `L` and its transpose as operators, what is no covariance."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.preconditioner import (
    Preconditioner,
    as_preconditioner,
    check_inverse_mass_matrix,
    scale,
    scale_transpose,
)

DENSE = jnp.array([[2.0, 0.5, 0.1], [0.5, 1.0, -0.2], [0.1, -0.2, 0.3]])
KINDS: dict[str, Any] = {"identity": None, "diagonal": jnp.array([4.0, 0.25, 1.0]), "dense": DENSE}
every_kind = pytest.mark.parametrize("kind", KINDS)


def as_matrix(kind: str) -> Any:
    given = KINDS[kind]
    if given is None:
        return np.eye(3)
    return np.diag(given) if given.ndim == 1 else np.asarray(given)


@every_kind
def test_the_factor_is_a_root_and_the_transpose_its_adjoint(kind: str) -> None:
    preconditioner = as_preconditioner(KINDS[kind])
    root = jax.vmap(lambda v: scale(preconditioner, v), out_axes=1)(jnp.eye(3))
    adjoint = jax.vmap(lambda v: scale_transpose(preconditioner, v), out_axes=1)(jnp.eye(3))
    np.testing.assert_allclose(root @ root.T, as_matrix(kind), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(adjoint, root.T)


def test_a_factored_one_is_handed_through() -> None:
    # any root will do, not only a triangular one
    turn = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (3, 3)))[0]
    factor = jnp.linalg.cholesky(DENSE) @ turn
    given = Preconditioner(DENSE, factor)
    assert as_preconditioner(given) is given
    root = jax.vmap(lambda v: scale(given, v), out_axes=1)(jnp.eye(3))
    np.testing.assert_allclose(root @ root.T, DENSE, rtol=1e-5, atol=1e-6)
    check_inverse_mass_matrix(given, 3)


@every_kind
@pytest.mark.parametrize("dim", [3, None])
def test_covariances_pass(kind: str, dim: int | None) -> None:
    check_inverse_mass_matrix(KINDS[kind], dim)


@pytest.mark.usefixtures("unchecked")
def test_lists_pass() -> None:
    check_inverse_mass_matrix([1.0, 2.0], 2)


def test_numbers_and_single_precision_pass() -> None:
    check_inverse_mass_matrix(2.0, 3)
    # a sample covariance computed in float32 is symmetric and positive to its own precision
    x = np.random.default_rng(0).normal(size=(100, 20)).astype(np.float32) * np.geomspace(
        0.01, 100, 20, dtype=np.float32
    )
    check_inverse_mass_matrix(np.cov(x.T), 20)
    check_inverse_mass_matrix(np.asarray(np.cov(x.T), np.float32), 20)


def test_shapes_are_checked_inside_of_a_trace_and_values_are_not() -> None:
    jax.jit(lambda p: check_inverse_mass_matrix(p, 2))(-jnp.ones(2))
    with pytest.raises(ValueError, match="has 3 coordinates"):
        jax.jit(lambda p: check_inverse_mass_matrix(p, 3))(jnp.ones(2))


BAD: dict[str, tuple[Any, str]] = {
    "three axes": (np.ones((2, 2, 2)), r"shape \(2, 2, 2\)"),
    "not square": (np.ones((2, 3)), r"shape \(2, 3\)"),
    "of another size": (np.ones(4), r"shape \(4,\) but the position has 2 coordinates"),
    "not symmetric": (np.array([[1.0, 0.3], [0.0, 1.0]]), "not symmetric"),
    "indefinite": (np.array([[1.0, 2.0], [2.0, 1.0]]), "smallest eigenvalue is -1"),
    "negative": (np.array([1.0, -1.0]), "smallest is -1"),
    "not a number": (np.array([1.0, np.nan]), "must have finite entries"),
    "factored, of another size": (
        Preconditioner(jnp.ones(4), jnp.ones(4)),
        r"position has 2 coordinates",
    ),
    "factored, negative": (Preconditioner(-jnp.ones(2), jnp.ones(2)), "smallest is -1"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_covariance_is_refused(kind: str) -> None:
    matrix, message = BAD[kind]
    with pytest.raises(ValueError, match=message):
        check_inverse_mass_matrix(matrix, 2)
