"""The length of trajectories, for moves whose autocorrelation is known."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.adaptation.trajectory import (
    NUM_BINS,
    START,
    close_trajectory,
    efficiencies,
    record,
    start_trajectory,
)

NUM_CHAINS = 512


def rotating(angles: Any, longest: int, num_steps: int) -> Any:
    """Chains whose coordinate `i` turns by `angles[i]` a step, as on a Gaussian; and their record.

    Lengths are uniform on `1 .. longest`.
    """
    angles = jnp.asarray(angles)
    rng = jax.random.key(0)
    x = jax.random.normal(rng, (NUM_CHAINS, len(angles)))
    search = start_trajectory(x)._replace(center=jnp.zeros(len(angles)))

    def one(carry: Any, inputs: Any) -> Any:
        x, search = carry
        key, length = inputs
        turn = angles * length
        x = jnp.cos(turn) * x + jnp.sin(turn) * jax.random.normal(key, x.shape)
        search = record(search, x, jnp.full(NUM_CHAINS, length), jnp.ones(NUM_CHAINS))
        return (x, search), None

    lengths = 1.0 + jnp.arange(num_steps) % longest
    keys = jax.random.split(jax.random.key(1), num_steps)
    (x, search), _ = jax.lax.scan(one, (x, search), (keys, lengths))
    return x, search


def expected(angles: Any, num_bins: int) -> Any:
    """What the record estimates, in closed form."""
    found = []
    for k in range(num_bins):
        n = np.arange(1, 2 ** (k + 1))[:, None]
        turn = n * np.asarray(angles)
        away = np.concatenate([1 - np.cos(turn), 1 - np.cos(turn) ** 2], axis=1).mean(axis=0)
        found.append((away / (2 - away)).min() / 2**k)
    return np.array(found)


def close(search: Any, x: Any, **where: bool) -> Any:
    """The search after a window in the middle of the warmup, unless said otherwise."""
    flags = ("is_opening", "is_first", "is_before_last", "is_last")
    return close_trajectory(search, x, **(dict.fromkeys(flags, False) | where))


@pytest.mark.parametrize("angles", [[0.2], [0.05, 0.4], [0.8, 1.2]])
def test_effective_draws_per_step_are_those_of_the_moves(angles: Any) -> None:
    _, search = rotating(angles, 31, 310)
    found, truth = np.asarray(efficiencies(search)), expected(angles, 5)
    # 512 chains x 10 moves of each length: 1% of a move, a few of a worth
    np.testing.assert_allclose(found[:5], truth, rtol=0.08)
    assert not found[5:].any()


@pytest.mark.parametrize(("angles", "best"), [([1.4], 1), ([0.05, 0.4], 31)])
def test_the_length_is_the_best_that_was_tried_or_the_next_one(angles: Any, best: int) -> None:
    x, search = rotating(angles, 31, 310)
    truth = expected(angles, 5)
    last = close(search, x, is_last=True)
    assert float(last.mean_num_steps) == 2.0 ** int(np.argmax(truth))
    following = close(search, x)
    is_longest = np.argmax(truth) == 4
    assert is_longest == (best == 31)
    assert float(following.mean_num_steps) == float(last.mean_num_steps) * (2 if is_longest else 1)
    # the record restarts
    assert not np.asarray(following.num_moves).any()
    assert float(following.values.num_draws) == 0


def test_means_alone_would_choose_longer_ones() -> None:
    """A half turn puts a coordinate on the other side, and its square where it was."""
    _, search = rotating([np.pi / 6], 7, 70)
    both = efficiencies(search)
    moves = search.moves.at[:, 1].set(search.moves[:, 0])
    spread = search.values.scatter.at[1].set(search.values.scatter[0])
    alone = efficiencies(
        search._replace(moves=moves, values=search.values._replace(scatter=spread))
    )
    assert int(jnp.argmax(alone)) > int(jnp.argmax(both))


def test_the_first_window_has_a_length_of_its_own_and_few_draws_change_nothing() -> None:
    x = jnp.ones((4, 3))
    search = start_trajectory(x, opening=5)
    assert float(search.mean_num_steps) == 1
    assert float(start_trajectory(x).mean_num_steps) == START
    still = close(search, x, is_opening=True)
    assert float(still.mean_num_steps) == 1
    first = close(still, x, is_first=True)
    assert float(first.mean_num_steps) == START
    kept = close(first, x, is_last=True)
    assert float(kept.mean_num_steps) == START


def test_the_last_window_does_not_try_what_was_worse_before() -> None:
    x, long = rotating([1.4], 7, 70)
    shorter = close(long, x)
    assert (float(shorter.mean_num_steps), float(shorter.worse_from)) == (1, 2)
    _, short = rotating([1.4], 1, 70)
    again = short._replace(worse_from=shorter.worse_from)
    assert float(close(again, x).mean_num_steps) == 2
    assert float(close(again, x, is_before_last=True).mean_num_steps) == 1
    # nothing is known of longer ones
    assert float(close(short, x, is_before_last=True).mean_num_steps) == 2


def test_lengths_beyond_the_last_bin_count_in_it() -> None:
    x = jnp.zeros((2, 1))
    search = record(start_trajectory(x), x + 1, jnp.full(2, 1e6), jnp.ones(2))
    assert float(search.num_moves[NUM_BINS - 1]) == 2
