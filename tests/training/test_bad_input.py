"""What is refused, and that it is refused before anything is compiled."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from numpyro_score.kernels import mala
from numpyro_score.noise import VE
from numpyro_score.scores import ResidualMLP, ScoreNetwork
from numpyro_score.training import cosine_adam, fit
from numpyro_score.training.losses import (
    ContinuousDenoising,
    ContrastiveDivergence,
    implicit_score_matching,
)

pytestmark = pytest.mark.usefixtures("unchecked")

KEY = jax.random.key(0)
DATA = np.zeros((100, 2), np.float32)


@pytest.fixture(scope="module")
def network() -> Any:
    data = np.random.default_rng(0).normal(size=(100, 2))
    return ScoreNetwork(ResidualMLP(2, width=8, rng_key=KEY), VE(0.1, 10.0), data)


def bad(row: int, value: float) -> Any:
    data = np.array(DATA)
    data[row] = value
    return data


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"data": np.zeros((0, 2))}, ValueError, "no point"),
        ({"data": bad(3, np.nan)}, ValueError, "1 of 100 points of the data are not finite"),
        ({"data": bad(3, np.inf)}, ValueError, "1 of 100 points of the data are not finite"),
        ({"data": "draws.nc"}, TypeError, "data are a str"),
        ({"data": {}}, ValueError, "no variables"),
        ({"data": np.zeros((100, 2), object)}, ValueError, "real numbers"),
        ({"data": np.zeros((100, 3))}, ValueError, "the data's dimension"),
        ({"batch_size": 101}, ValueError, "only 90 points"),
        ({"batch_size": 91}, ValueError, "10 more being held out"),
        ({"batch_size": 0}, ValueError, "batch_size is 0"),
        ({"num_steps": 0}, ValueError, "num_steps is 0"),
        ({"num_steps": 2.5}, ValueError, "num_steps is 2.5"),
        ({"ema": 1.0}, ValueError, "ema is 1.0"),
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction is 1.0"),
        ({"validation_fraction": 1e-4}, ValueError, "none to hold out"),
        ({"validation_fraction": 0.0, "patience": 3}, ValueError, "patience needs"),
        ({"patience": 0}, ValueError, "patience is 0"),
        ({"loss": 3.0}, TypeError, "the loss is a float"),
        ({"loss": lambda model, batch, rng_key: batch}, ValueError, "must be one real number"),
        ({"loss": ContrastiveDivergence(mala, {"step_size": 0.1})}, TypeError, "no method energy"),
        ({"loss": implicit_score_matching}, ValueError, "does not take arguments"),
        ({"optimizer": "adam"}, TypeError, "the optimizer is a str"),
        ({"model": lambda x, t: -x}, TypeError, "no JAX arrays of real numbers"),
        ({"model": eqx.nn.Linear(2, 2, key=KEY)}, ValueError, "no noise process of its own"),
        ({"mesh": 2}, TypeError, "mesh is a int"),
        ({"checkpoint": Path(__file__)}, ValueError, "is a file"),
    ],
)
def test_bad_input(
    settings: Any, error: type[Exception], match: str, network: Any, caplog: Any
) -> None:
    settings = {"model": network, "data": DATA, "loss": ContinuousDenoising()} | settings
    model, data, loss = (settings.pop(name) for name in ("model", "data", "loss"))
    with pytest.raises(error, match=match), jax.log_compiles():
        fit(model, data, loss, rng_key=KEY, progress=False, **settings)
    compiled = [text for text in caplog.messages if text.startswith("Compiling")]
    assert not [text for text in compiled if "start" in text or "run" in text]


def test_compiling_would_have_been_seen(network: Any, caplog: Any) -> None:
    with jax.log_compiles():
        fit(network, DATA, ContinuousDenoising(), rng_key=KEY, num_steps=1, progress=False)
    compiled = [text for text in caplog.messages if text.startswith("Compiling")]
    for name in ("start", "run"):
        assert any(name in text for text in compiled)


def test_a_model_that_is_not_finite(network: Any) -> None:
    broken = eqx.tree_at(lambda m: m.network.last.bias, network, jnp.full(2, jnp.nan))
    with pytest.raises(ValueError, match=r"network\.last\.bias is not finite"):
        fit(broken, DATA, ContinuousDenoising(), rng_key=KEY, progress=False)


def test_levels_the_wrong_way_round() -> None:
    with pytest.raises(ValueError, match="sigma_min < sigma_max"):
        VE(10.0, 0.1)


def test_a_learning_rate_of_none() -> None:
    with pytest.raises(ValueError, match="above 0"):
        cosine_adam(0.0)


def test_an_optimizer_without_its_progress_says_so() -> None:
    optimizer = cosine_adam()
    with pytest.raises(TypeError, match="progress"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)), jnp.ones(2))
    assert isinstance(optimizer, optax.GradientTransformationExtraArgs)


class Unhashable:
    """A loss that no program can be found again by."""

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, model: Any, batch: Any, rng_key: Any) -> Any:
        return 0.0


def test_a_loss_without_a_hash(network: Any) -> None:
    with pytest.raises(TypeError, match="a Unhashable in the model, the loss"):
        fit(network, DATA, Unhashable(), rng_key=KEY, progress=False)
