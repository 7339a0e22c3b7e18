import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.diagnostics.discrepancy import positions
from numpyro_score.diagnostics.discrepancy.positions import gradients_at, scores_at


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(positions, "BATCH", 4)


@pytest.mark.parametrize("num", [1, 4, 10])
def test_batches_leave_no_trace_in_the_numbers(num):
    points = np.random.default_rng(0).normal(size=(num, 3))
    found = gradients_at(lambda x: -0.25 * jnp.sum(x**4), points)
    np.testing.assert_allclose(found, -(points**3), rtol=1e-5)


def test_one_program_serves_any_number_of_batches():
    shapes = []

    def score(x):
        shapes.append(x.shape)
        return -x

    for num in (4, 7, 16):
        scores_at(score, np.ones((num, 3)))
    assert shapes == [(3,)]
