from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from numpyro_score import progress
from numpyro_score.kernels import mala
from numpyro_score.noise import VE
from numpyro_score.scores import ResidualMLP, ScoreNetwork
from numpyro_score.training import cosine_adam, fit, loop
from numpyro_score.training.losses import (
    ContinuousDenoising,
    PersistentContrastiveDivergence,
    StatefulLoss,
    implicit_score_matching,
)

KEY = jax.random.key(0)
DATA = np.random.default_rng(0).normal(3.0, 1.0, (200, 2)).astype(np.float32)
SGD = optax.sgd(0.05)
"""One object, so that the tests share what is compiled."""


class Center(eqx.Module):
    """A point, to be moved to the middle of the data."""

    place: Any


def start() -> Center:
    return Center(jnp.zeros(2))


def distance(model: Center, batch: Any, rng_key: Any) -> Any:
    """Half the mean squared distance; the key adds nothing but is used."""
    shift = 0.1 * jax.random.normal(rng_key, batch.shape)
    return jnp.mean(jnp.sum((batch + shift - model.place) ** 2, axis=1)) / 2


def quick(loss: Any = distance, data: Any = DATA, **settings: Any) -> Any:
    settings = {
        "rng_key": KEY,
        "num_steps": 150,
        "batch_size": 32,
        "optimizer": SGD,
        "validation_fraction": 0.0,
        "progress": False,
    } | settings
    return fit(settings.pop("model", start()), data, loss, **settings)


def test_it_finds_the_middle_and_says_how() -> None:
    model, history = quick(validation_fraction=0.2)
    np.testing.assert_allclose(model.place, DATA.mean(axis=0), atol=0.3)
    assert history.attrs["stopped"] == "finished"
    assert history.attrs["num_steps"] == 150 == history.step[-1]
    assert history.attrs["batch_size"] == 32
    assert set(history.data_vars) == {"train_loss", "held_out_loss"}
    assert (history.train_loss[0] > 5 * history.train_loss[-1]).item()
    assert np.isfinite(history.to_dataframe()).all(axis=None)


def test_rows_are_means_of_the_losses_between_them() -> None:
    """Steps of rate 0, whose losses depend on the batch alone."""
    _, history = quick(num_steps=150, optimizer=optax.sgd(0.0))
    assert history.step.values.tolist() == [2 * (i + 1) for i in range(75)]
    spread = np.asarray(history.train_loss)
    expected = 0.5 * ((DATA**2).sum(axis=1).mean() + 2 * 0.01)
    assert abs(spread.mean() - expected) < 4 * spread.std() / np.sqrt(len(spread))


def test_the_last_row_may_be_short() -> None:
    _, history = quick(num_steps=101)
    assert history.step.values[-2:].tolist() == [100, 101]
    assert np.isfinite(history.train_loss).all()


@pytest.mark.parametrize("ema", [None, 0.9])
def test_chunks_do_not_matter(ema: float | None, same: Any, monkeypatch: Any) -> None:
    whole = quick(ema=ema, validation_fraction=0.2)
    monkeypatch.setattr(progress, "CHUNK_SECONDS", 0.0)  # a step at a time after the first ten
    cut = quick(ema=ema, validation_fraction=0.2)
    same(whole.model, cut.model)
    np.testing.assert_array_equal(whole.history.to_dataframe(), cut.history.to_dataframe())


def test_the_average_is_that_of_the_parameters() -> None:
    """Averaged by hand, from fits of every length: the rate does not depend on it here."""
    steps = 12
    averaged = quick(num_steps=steps, ema=0.6).model.place
    expected = np.zeros(2)
    for i in range(steps):
        decay = min(0.6, (1 + i) / (10 + i))
        now = np.asarray(quick(num_steps=i + 1, ema=None).model.place)
        expected = decay * expected + (1 - decay) * now
    np.testing.assert_allclose(averaged, expected, rtol=1e-5)


def test_same_key_same_model_other_key_other() -> None:
    assert eqx.tree_equal(quick().model, quick().model)
    assert not eqx.tree_equal(quick().model, quick(rng_key=jax.random.key(1)).model)
    raw = quick(rng_key=jax.random.PRNGKey(0)).model
    assert jnp.isfinite(raw.place).all()


def test_held_out_points_are_not_trained_on() -> None:
    """One point far away: it shows in one of the two losses only."""
    data = np.concatenate([np.zeros((19, 2)), np.full((1, 2), 1e3)]).astype(np.float32)
    for seed in range(3):
        _, history = quick(
            data=data,
            rng_key=jax.random.key(seed),
            batch_size=8,
            validation_fraction=0.5,
            optimizer=optax.sgd(0.0),
        )
        is_trained_on = history.train_loss.max().item() > 1e3
        is_held_out = history.held_out_loss.max().item() > 1e3
        assert is_trained_on != is_held_out
        # the same random numbers at every look
        assert len(np.unique(history.held_out_loss)) == 1


def test_patience_hands_out_the_best() -> None:
    """A rate at which the point is thrown past the middle, ever farther."""
    wild = quick(optimizer=optax.sgd(2.05), validation_fraction=0.2, ema=None, patience=3)
    history = wild.history
    best = int(np.argmin(history.held_out_loss.values))
    assert history.attrs["stopped"] == "patience"
    assert history.attrs["best_step"] == history.step[best]
    assert len(history.step) == best + 1 + 3
    assert history.attrs["num_steps"] == history.step[-1] < 150
    # the model of the best row, not of the last
    held_to = quick(
        optimizer=optax.sgd(2.05),
        validation_fraction=0.2,
        ema=None,
        num_steps=int(history.attrs["best_step"]),
    )
    last = quick(optimizer=optax.sgd(2.05), validation_fraction=0.2, ema=None)
    distances = [
        float(jnp.linalg.norm(result.model.place - 3.0)) for result in (wild, held_to, last)
    ]
    assert distances[0] == pytest.approx(distances[1], rel=1e-4)
    assert distances[0] < distances[2]


class BadStep(StatefulLoss):
    """A loss that counts its steps, and is not finite, or has no gradient, at one of them."""

    bad: int
    in_gradient: bool

    def init(self, model: Any, batch: Any, rng_key: Any) -> Any:
        return jnp.zeros((), jnp.int32)

    def update(self, model: Any, batch: Any, rng_key: Any, state: Any) -> tuple[Any, Any]:
        value, is_bad = distance(model, batch, rng_key), state == self.bad
        if self.in_gradient:
            # the root of 0 is 0, and its slope infinite
            nothing = 0.0 * model.place[0] ** 2
            value += jnp.sqrt(jnp.where(is_bad, nothing, 1.0 + nothing))
        else:
            value = jnp.where(is_bad, jnp.nan, value)
        return value, state + 1


@pytest.mark.parametrize("bad", [0, 1, 77, 149])
@pytest.mark.parametrize("in_gradient", [False, True])
def test_not_finite_stops_with_the_last_good(bad: int, in_gradient: bool, same: Any) -> None:
    with pytest.warns(UserWarning, match=f"step {bad + 1} made .* after {bad} steps"):
        model, history = quick(BadStep(bad, in_gradient), ema=None)
    assert history.attrs["stopped"] == "not finite"
    assert history.attrs["num_steps"] == bad
    assert np.isfinite(history.train_loss).all()
    if bad:
        good = quick(BadStep(10_000, in_gradient), ema=None, num_steps=bad).model
        np.testing.assert_allclose(model.place, good.place, rtol=1e-6)
    else:
        same(model, start())


def test_interrupt_hands_out_what_there_is(monkeypatch: Any) -> None:
    calls = []
    run = loop.run

    def interrupted(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(*args)

    monkeypatch.setattr(loop, "run", interrupted)
    model, history = quick()
    assert history.attrs["stopped"] == "interrupted"
    assert history.attrs["num_steps"] == progress.FIRST_CHUNK
    assert (model.place > 0).all()


def counted() -> tuple[Any, list[int]]:
    traces: list[int] = []

    def loss(model: Any, batch: Any, rng_key: Any) -> Any:
        traces.append(1)
        return distance(model, batch, rng_key)

    return loss, traces


def test_a_second_fit_traces_nothing() -> None:
    loss, traces = counted()
    quick(loss, optimizer=None, validation_fraction=0.2, patience=50)
    first = len(traces)
    # other numbers, another length, another key, another decay; the same shapes
    quick(
        loss,
        data=DATA + 1.0,
        optimizer=None,
        num_steps=77,
        rng_key=jax.random.key(5),
        validation_fraction=0.2,
        ema=0.9,
        patience=60,
    )
    assert len(traces) == first
    assert first <= 3  # for the gradient, for the held-out loss
    quick(loss, optimizer=None, batch_size=16, validation_fraction=0.2, patience=50)
    assert len(traces) > first


def test_the_default_optimizer_falls_to_rate_zero() -> None:
    _, history = quick(optimizer=cosine_adam(0.5), num_steps=400)
    late = np.asarray(history.train_loss[-20:])
    optimum = 0.5 * (DATA.var(axis=0).sum() + 0.02)
    assert abs(late.mean() - optimum) < 0.15


def test_an_optimizer_that_wants_the_loss() -> None:
    plateau = optax.chain(optax.sgd(0.05), optax.contrib.reduce_on_plateau(patience=40))
    model, _ = quick(optimizer=plateau, ema=None)
    np.testing.assert_allclose(model.place, DATA.mean(axis=0), atol=0.4)


def test_what_a_model_holds_constant_stays() -> None:
    """Weight decay moves what has no gradient, unless it is kept from it."""
    model = ScoreNetwork(ResidualMLP(2, width=8, rng_key=KEY), VE(0.1, 20.0), DATA)
    trained, _ = quick(ContinuousDenoising(), model=model, num_steps=20, optimizer=optax.adamw(0.1))
    assert eqx.tree_equal(trained.units, model.units)
    assert not eqx.tree_equal(trained.network, model.network)


def test_a_loss_with_a_memory() -> None:
    """Persistent chains learn where a Gaussian energy's data are."""

    class Energy(eqx.Module):
        mean: Any

        def energy(self, x: Any) -> Any:
            return jnp.sum((x - self.mean) ** 2) / 2

    loss = PersistentContrastiveDivergence(mala, {"step_size": 0.5}, 2)
    model, history = quick(
        loss, model=Energy(jnp.zeros(2)), num_steps=400, validation_fraction=0.2, ema=0.98
    )
    np.testing.assert_allclose(model.mean, DATA.mean(axis=0), atol=0.3)
    assert np.isfinite(history.held_out_loss).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_precisions(dtype: Any, x64: None) -> None:
    model, _ = quick(
        data=DATA.astype(dtype), model=Center(jnp.zeros(2, dtype)), optimizer=None, num_steps=20
    )
    assert model.place.dtype == dtype


def test_data_of_any_shape_and_a_progress_bar(capfd: Any) -> None:
    images = DATA.reshape(100, 2, 2, 1)

    def loss(model: Any, batch: Any, rng_key: Any) -> Any:
        return jnp.mean((batch - model.place) ** 2)

    model, _ = quick(loss, images, model=Center(jnp.zeros((2, 2, 1))), progress=True)
    assert model.place.shape == (2, 2, 1)
    shown = capfd.readouterr().err
    assert "150/150" in shown
    assert "loss" in shown


def test_a_model_of_another_library() -> None:
    nnx = pytest.importorskip("flax.nnx")
    graph, state = nnx.split(nnx.Linear(2, 2, rngs=nnx.Rngs(0)))
    model = jax.tree_util.Partial(lambda state, x: nnx.merge(graph, state)(x), state)
    fitted, _ = quick(
        implicit_score_matching, model=model, num_steps=600, optimizer=cosine_adam(0.05)
    )
    # of a Gaussian the score is linear
    expected = -np.linalg.solve(np.cov(DATA.T), np.array([1.0, 0.0]) - DATA.mean(axis=0))
    np.testing.assert_allclose(fitted(jnp.array([1.0, 0.0])), expected, atol=0.6)
