"""What holds for every loss: any shape of event, both precisions, and clear refusals."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.kernels import mala
from numpyro_score.noise import VE, geometric_ladder
from numpyro_score.training.losses import (
    ContinuousDenoising,
    ContrastiveDivergence,
    DenoisingScoreMatching,
    ExplicitScoreMatching,
    ExplicitSlicedScoreMatching,
    LadderDenoising,
    MaximumLikelihood,
    PersistentContrastiveDivergence,
    SlicedScoreMatching,
    TargetScoreMatching,
    implicit_score_matching,
    sphere,
)

NOISE = VE(0.1, 10.0)


def target(x: Any) -> Any:
    return -x / 2


def logdensity(x: Any) -> Any:
    return -jnp.sum(x**2) / 4


def target_score(model: Any, batch: Any, rng_key: Any) -> Any:
    """With as many variances as there are coordinates."""
    loss = TargetScoreMatching(np.full(int(np.prod(batch.shape[1:])), 2.0), logdensity, NOISE)
    return loss(model, batch, rng_key)


STATIC: dict[str, Any] = {
    "explicit": ExplicitScoreMatching(target),
    "implicit": implicit_score_matching,
    "sliced": SlicedScoreMatching(sphere, 2),
    "sliced, not reduced": SlicedScoreMatching(variance_reduced=False),
    "explicit sliced": ExplicitSlicedScoreMatching(target),
    "denoising": DenoisingScoreMatching(0.5),
}
TIMED: dict[str, Any] = {
    "ladder": LadderDenoising(geometric_ladder(10.0, 0.1, 5), NOISE),
    "continuous": ContinuousDenoising(NOISE),
    "target score": target_score,
}
ENERGY: dict[str, Any] = {
    "contrastive": ContrastiveDivergence(mala, {"step_size": 0.1}, 2),
    "likelihood": MaximumLikelihood(mala, {"step_size": 0.1}, 2),
}


class Cubic(eqx.Module):
    """A score, energy included, of points of any shape."""

    scale: Any

    def energy(self, x: Any) -> Any:
        return jnp.sum(self.scale * x**4)

    def __call__(self, x: Any, t: Any = 0.0) -> Any:
        return -4 * self.scale * x**3 / (1 + t)


KEY = jax.random.key(0)
ALL = STATIC | TIMED | ENERGY


@pytest.mark.parametrize("name", ALL)
def test_jit_is_eager_and_shape_does_not_matter(name: str) -> None:
    loss, model = ALL[name], Cubic(jnp.asarray(0.1))
    batch = jax.random.normal(jax.random.key(1), (6, 4))
    # one program with both: noise of another shape would be other noise
    shaped = eqx.filter_jit(loss)(model, batch.reshape(6, 2, 2), KEY)
    assert shaped.shape == ()
    assert jnp.isfinite(shaped)
    flat = eqx.filter_jit(loss)(model, batch, KEY)
    np.testing.assert_allclose(flat, loss(model, batch, KEY), rtol=1e-5)
    np.testing.assert_allclose(flat, shaped, rtol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_precision_is_that_of_the_data(name: str, x64: None) -> None:
    for dtype in (jnp.float32, jnp.float64):
        model = Cubic(jnp.asarray(0.1, dtype))
        batch = jax.random.normal(jax.random.key(1), (6, 2), dtype)
        assert eqx.filter_eval_shape(ALL[name], model, batch, KEY).dtype == dtype


@pytest.mark.parametrize("name", ALL)
def test_gradient_reaches_the_parameters(name: str) -> None:
    model = Cubic(jnp.asarray(0.1))
    batch = jax.random.normal(jax.random.key(1), (64, 2))
    gradient = eqx.filter_jit(eqx.filter_grad(ALL[name]))(model, batch, KEY)
    assert jnp.isfinite(gradient.scale)
    assert gradient.scale != 0


@pytest.mark.parametrize("name", STATIC | TIMED)
def test_a_model_that_does_not_fit_is_refused(name: str, unchecked: None) -> None:
    batch, linear = jnp.ones((4, 2)), jnp.ones((3, 3))
    with pytest.raises(ValueError, match=r"does not take arguments of shapes \(2,\)"):
        ALL[name](lambda x, t=0.0: linear @ x, batch, KEY)
    with pytest.raises(ValueError, match=r"shape \(\) for a point of shape \(2,\)"):
        ALL[name](lambda x, t=0.0: jnp.sum(x), batch, KEY)
    with pytest.raises(TypeError, match="cannot be called"):
        ALL[name](3.0, batch, KEY)
    with pytest.raises(ValueError, match="at least one point"):
        ALL[name](Cubic(jnp.asarray(0.1)), jnp.ones((0, 2)), KEY)


@pytest.mark.parametrize("name", ENERGY)
def test_a_score_is_no_energy(name: str, unchecked: None) -> None:
    batch = jnp.ones((4, 2))
    with pytest.raises(TypeError, match="no method energy"):
        ALL[name](lambda x: -x, batch, KEY)


def test_an_energy_that_is_no_number_is_refused(unchecked: None) -> None:
    class Wrong(eqx.Module):
        def energy(self, x: Any) -> Any:
            return x**2

    batch = jnp.ones((4, 2))
    persistent = PersistentContrastiveDivergence(mala, {"step_size": 0.1})
    with pytest.raises(ValueError, match=r"shape \(2,\) but must be a scalar"):
        persistent.init(Wrong(), batch, KEY)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: DenoisingScoreMatching(0.0), "sigma is 0.0 but must be above 0"),
        (lambda: SlicedScoreMatching(num_projections=0), "at least 1"),
        (lambda: ExplicitSlicedScoreMatching(target, num_projections=0), "at least 1"),
        (lambda: LadderDenoising([0.1, 1.0]), "does not fall"),
        (lambda: LadderDenoising([1.0, -0.1]), "does not fall"),
        (lambda: LadderDenoising([1.0]), "at least 2"),
        (lambda: geometric_ladder(0.1, 1.0, 5), "sigma_min < sigma_max"),
        (lambda: ContinuousDenoising(drop_rate=1.0), "drop_rate"),
        (lambda: ContrastiveDivergence(mala, {"step_size": 0.1}, 0), "at least 1 step"),
        (lambda: ContrastiveDivergence(mala, {}, penalty=-1.0), "penalty"),
        (lambda: PersistentContrastiveDivergence(mala, {}, restart_rate=2.0), "restart_rate"),
    ],
)
def test_bad_settings(make: Any, match: str, unchecked: None) -> None:
    with pytest.raises(ValueError, match=match):
        make()


def test_a_kernel_that_is_none(unchecked: None) -> None:
    with pytest.raises(TypeError, match="BlackJAX's protocol"):
        ContrastiveDivergence("mala", {})
    loss = ContrastiveDivergence(mala, {"step_size": -1.0})
    with pytest.raises(ValueError, match="step_size is -1"):
        loss(Cubic(jnp.asarray(0.1)), jnp.ones((4, 2)), KEY)


def test_a_process_is_needed_and_has_to_reach_the_ladder(unchecked: None) -> None:
    batch = jnp.ones((4, 2))
    with pytest.raises(ValueError, match="no noise process of its own"):
        ContinuousDenoising()(lambda x, t: -x, batch, KEY)
    beyond = LadderDenoising(geometric_ladder(100.0, 0.1, 5), NOISE)
    with pytest.raises(ValueError, match="give a ladder within it"):
        beyond(lambda x, t: -x, batch, KEY)


def test_a_ladder_has_a_process_of_its_own() -> None:
    """A model without noise is told the rung as a time from 0, the last, to 1, the first."""
    seen = []

    def model(x: Any, t: Any) -> Any:
        jax.debug.callback(lambda t: seen.append(float(t)), t)
        return -x

    loss = LadderDenoising([4.0, 2.0, 1.0])
    jax.block_until_ready(jax.jit(lambda batch: loss(model, batch, KEY))(jnp.ones((30, 2))))
    jax.effects_barrier()
    assert {round(t, 5) for t in seen} == {0.0, 0.5, 1.0}


class Conditional(eqx.Module):
    """Counts on the condition: the score of N(y, sigma^2), or of a wide one where y is missing."""

    noise: Any = NOISE

    def __call__(self, x: Any, t: Any, y: Any) -> Any:
        known = (y - x) / self.noise.variance(t)
        return jnp.where(jnp.isnan(y).any(), -x / 1e4, known)


@pytest.mark.parametrize("loss", [ContinuousDenoising(), TIMED["ladder"]], ids=["t", "ladder"])
def test_pairs_of_points_and_conditions(loss: Any) -> None:
    x = jax.random.normal(jax.random.key(1), (200, 2))
    loss = eqx.filter_jit(loss)
    assert loss(Conditional(), (x, x), KEY) < 1e-8  # the condition is the clean point
    assert loss(Conditional(), (x, x + 1.0), KEY) > 1e-3


def test_conditions_are_dropped_at_the_rate() -> None:
    x = jnp.zeros((2000, 2))
    losses = [
        eqx.filter_jit(ContinuousDenoising(NOISE, drop_rate=rate))(Conditional(), (x, x), KEY)
        for rate in (0.0, 0.25, 0.5)
    ]
    assert losses[0] < 1e-8
    # without its condition a point costs E |z|^2 / 2 = 1, nearly
    np.testing.assert_allclose(losses[1:], [0.25, 0.5], atol=0.06)


def test_a_batch_of_three_parts_is_refused(unchecked: None) -> None:
    x = jnp.ones((4, 2))
    with pytest.raises(ValueError, match="a pair"):
        ContinuousDenoising(NOISE)(Conditional(), (x, x, x), KEY)
