"""Learned jumps that may be wrong come with a warning, and those that are right do not.

`examples/benchmarks/jumps.py` counts the same over many seeds.
"""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from numpyro_score.infer import GlobalLocal
from numpyro_score.learned import Fitted
from numpyro_score.targets import funnel, narrow_modes

PAIR = narrow_modes(8)
SEEDS = range(2)


def reference(mean: float, sd: float) -> Any:
    return dist.Normal(jnp.full(8, mean), sd).to_event(1)


def fit(seed: int, kernel: GlobalLocal, *args: Any) -> tuple[Fitted, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = kernel.fit(jax.random.key(seed), *args)
    texts = [str(one.message) for one in caught]
    # what is warned of is recorded with the run
    assert fitted.attributes["learning_warnings"] == "\n".join(texts)
    return fitted, texts


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("where", "settings", "expected"),
    [
        ((0.0, 2.0), {}, None),
        ((-0.5, 0.3), {}, "from outside of the reference alone"),
        ((0.0, 2.0), {"num_particles": 256}, "starts only: a mode that fewer"),
    ],
    ids=["sound", "one mode", "few particles"],
)
def test_two_narrow_modes(seed: int, where: Any, settings: Any, expected: str | None) -> None:
    kernel = GlobalLocal(
        logdensity_fn=PAIR.logdensity_fn, reference=reference(*where), progress=False, **settings
    )
    fitted, texts = fit(seed, kernel)
    if expected is None:
        assert not texts
    else:
        # what is crippled may be told in more than one way
        assert any(expected in text for text in texts)
    # all of them are right: both modes were found, and log Z is within its error
    assert fitted.evidence is not None
    assert PAIR.log_evidence is not None
    assert abs(fitted.evidence.value - PAIR.log_evidence) < 4.5 * fitted.evidence.error
    assert fitted.quality.acceptance_rate > 0.7
    error = np.sqrt(0.75 * 0.25 / (len(fitted.particles) / 10))
    assert abs(float((fitted.particles[:, 0] < 0.25).mean()) - 0.75) < 4 * error + 0.02


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_funnel(seed: int) -> None:
    """What the proposal misses of it is in the error, or in a warning."""
    target = funnel(10)
    fitted, texts = fit(seed, GlobalLocal(target.model, progress=False), *target.model_args)
    assert texts
    assert fitted.evidence is not None
    assert abs(fitted.evidence.value) < 2 * fitted.evidence.error
