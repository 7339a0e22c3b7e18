"""`ScoreMetropolis` as users meet it: tuned, labelled, counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import numpyro_score as ns
from numpyro_score.infer import ScoreMetropolis

SD = jnp.array([1.0, 3.0])


def test_it_is_tuned_by_the_score_alone_and_says_what_it_is() -> None:
    num_chains = 64
    tree = ns.sample(
        ScoreMetropolis(lambda x: -x / SD**2, num_nodes=3),
        jax.random.key(0),
        num_warmup=300,
        num_samples=200,
        num_chains=num_chains,
        init_params=jnp.zeros((num_chains, 2)),
        progress=False,
    )
    draws = next(iter(tree.posterior.data_vars.values())).to_numpy()
    # chains are independent: their mean squares tell the error of the mean over all
    squares = (draws**2).mean(axis=1) / np.asarray(SD) ** 2
    error = squares.std(axis=0, ddof=1) / np.sqrt(num_chains)
    assert (np.abs(squares.mean(axis=0) - 1) < 4.5 * error).all()
    stats = tree.sample_stats
    assert tree.attrs["exact"] == 0
    assert (stats["num_grad"] == 4).all()
    assert abs(float(stats["acceptance_rate"].mean()) - 0.574) < 0.1
    assert np.isfinite(stats["lp"]).all()


def test_what_is_no_score_is_refused(unchecked: None) -> None:
    with pytest.raises(TypeError, match="score_fn"):
        ScoreMetropolis(3.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_nodes is 0"):
        ScoreMetropolis(lambda x: -x, num_nodes=0)
