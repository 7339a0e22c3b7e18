"""Log densities of posteriors that have no closed form: as SciPy adds them up."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from numpyro.infer.util import log_density
from scipy import stats
from scipy.spatial.distance import cdist

from numpyro_score.targets.item_response import ANSWERS, item_response_model
from numpyro_score.targets.point_process import COUNTS, LENGTH, SIDE, cox_process_model

RNG = np.random.default_rng(0)


def of_answers(at: dict[str, Any]) -> float:
    difficulty = at["location"] + at["scale"] * at["z"]
    right = 1 / (1 + np.exp(-at["slope"] * np.subtract.outer(at["ability"], difficulty)))
    prior = (
        stats.norm.logpdf(at["location"])
        + stats.halfnorm.logpdf(at["scale"], scale=1.5)
        + stats.norm.logpdf(at["ability"]).sum()
        + stats.lognorm.logpdf(at["slope"], 0.5).sum()
        + stats.norm.logpdf(at["z"]).sum()
    )
    return float(prior + stats.bernoulli.logpmf(ANSWERS, right).sum())


def of_cells(at: dict[str, Any]) -> float:
    side = (np.arange(SIDE) + 0.5) / SIDE
    centres = np.array([(row, column) for row in side for column in side])
    root = np.linalg.cholesky(np.exp(-cdist(centres, centres) / LENGTH))
    rate = np.exp(at["level"] + at["scale"] * root @ at["z"])
    prior = (
        stats.norm.logpdf(at["level"])
        + stats.halfnorm.logpdf(at["scale"])
        + stats.norm.logpdf(at["z"]).sum()
    )
    return float(prior + stats.poisson.logpmf(COUNTS, rate).sum())


@pytest.mark.parametrize(
    ("model", "args", "by_scipy", "at"),
    [
        (
            item_response_model,
            (ANSWERS,),
            of_answers,
            {
                "location": 0.3,
                "scale": 1.2,
                "ability": RNG.normal(size=100),
                "slope": np.exp(0.5 * RNG.normal(size=40)),
                "z": RNG.normal(size=40),
            },
        ),
        (
            cox_process_model,
            (COUNTS,),
            of_cells,
            {"level": 0.4, "scale": 0.8, "z": RNG.normal(size=SIDE**2)},
        ),
    ],
    ids=["item response", "Cox process"],
)
def test_log_density_is_the_sum_of_its_terms(
    model: Callable[..., None],
    args: tuple[Any, ...],
    by_scipy: Callable[[dict[str, Any]], float],
    at: dict[str, Any],
) -> None:
    with jax.enable_x64(True):
        found = jax.jit(lambda at: log_density(model, args, {}, at)[0])(at)
    np.testing.assert_allclose(float(found), by_scipy(at), rtol=1e-9)
    # planted: other data
    shifted = {**at, "z": at["z"] + 0.1}
    assert abs(by_scipy(shifted) - float(found)) > 0.1
