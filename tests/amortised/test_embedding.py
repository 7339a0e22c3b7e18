"""Learned summaries of exchangeable rows: blind to their order, and near sufficient."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from numpyro_score.amortised import AmortisedPosterior, fit_posterior
from numpyro_score.amortised.embedding import RowEmbedding

KEY = jax.random.key(0)
NUM = 20


def model(x: Any, y: Any) -> None:
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", NUM):
        # where they were measured is part of the data
        x = numpyro.sample("x", dist.Normal(0.0, 1.0), obs=x)
        numpyro.sample("y", dist.Normal(slope * x, 1.0), obs=y)


def fitted(num_steps: int, num_simulations: int = 500) -> AmortisedPosterior:
    return fit_posterior(
        model,
        KEY,
        model_args=(jnp.zeros(NUM), jnp.zeros(NUM)),
        exchangeable=True,
        num_simulations=num_simulations,
        num_steps=num_steps,
        num_flow_steps=8,
        width=32,
        depth=2,
        progress=False,
    )


def draw(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=NUM)
    return {"x": jnp.asarray(x), "y": jnp.asarray(rng.normal() * x + rng.normal(size=NUM))}


def test_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    flat = np.stack([np.append(NUM, rng.normal(size=(NUM, 2))) for _ in range(200)])
    embedding, summaries = RowEmbedding.fit(
        rng.normal(size=(200, 1)), flat, KEY, num_steps=5, progress=False
    )
    data = {
        name: jnp.asarray(x) for name, x in zip("xy", flat[0, 1:].reshape(NUM, 2).T, strict=True)
    }
    np.testing.assert_allclose(embedding(data), summaries[0], rtol=1e-4, atol=1e-5)
    mixed = rng.permutation(NUM)
    again = {name: x[mixed] for name, x in data.items()}
    np.testing.assert_allclose(embedding(again), summaries[0], rtol=1e-4, atol=1e-5)
    # pairs belong together
    assert np.abs(embedding({**data, "y": data["y"][mixed]}) - summaries[0]).max() > 1e-4
    with pytest.raises(ValueError, match="19 rows of 2 numbers, but 20 of 2 were simulated"):
        embedding({name: x[1:] for name, x in data.items()})
    with pytest.raises(ValueError, match="exchangeable rows are the first axis"):
        embedding({"x": data["x"], "y": data["y"][1:]})


@pytest.mark.slow
def test_learned_saved_and_loaded(tmp_path: Path) -> None:
    posterior = fitted(20)
    data = draw(1)
    loaded = AmortisedPosterior.load(posterior.save(tmp_path / "posterior.score"))
    np.testing.assert_array_equal(loaded.condition(data), posterior.condition(data))


def test_one_summary_is_enough() -> None:
    with pytest.raises(ValueError, match="not both"):
        fit_posterior(model, KEY, summary=dict, exchangeable=True)


@pytest.mark.slow
def test_the_summaries_are_near_sufficient() -> None:
    posterior = fitted(2000, 20_000)
    for seed in range(5):
        data = draw(seed)
        x, y = (np.asarray(data[name]) for name in "xy")
        precision = 1 + x @ x
        found = np.asarray(posterior.sample(KEY, data, 4000)["slope"])
        assert abs(found.mean() - x @ y / precision) * np.sqrt(precision) < 0.25
        assert abs(found.std() * np.sqrt(precision) - 1) < 0.2
