"""The warning with which a run ends: one, of a few lines, where draws should not be used yet."""

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr

import numpyro_score as ns
from numpyro_score.run import check, loop
from numpyro_score.run.check import KeptDraws
from numpyro_score.run.tree import SAMPLING, WARMUP, Chunk, Converter

NUM_CHAINS, DIM = 8, 3


def gaussian(x: Any) -> Any:
    return -0.5 * jnp.sum(x**2)


def two_modes(x: Any) -> Any:
    return jnp.logaddexp(gaussian(x - 20.0), gaussian(x + 20.0))


run = partial(
    ns.sample,
    rng_key=jax.random.key(0),
    num_warmup=200,
    num_samples=1000,
    num_chains=NUM_CHAINS,
    init_params=jnp.zeros((NUM_CHAINS, DIM)),
    progress=False,
)
APART = jnp.where(jnp.arange(NUM_CHAINS) < 2, -20.0, 20.0)[:, None] * jnp.ones(DIM)


@pytest.fixture
def strict() -> Any:
    """Warnings of this kind are errors here, as they are not in other tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ns.ConvergenceWarning)
        yield


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("name", [None, "run.zarr"])
def test_a_run_that_mixed_is_quiet(name: str | None, tmp_path: Path) -> None:
    store = None if name is None else tmp_path / name
    run(ns.MALA(logdensity_fn=gaussian), store=store)


@pytest.mark.parametrize("name", [None, "run.zarr"])
def test_chains_in_different_modes_are_named(name: str | None, tmp_path: Path) -> None:
    store = None if name is None else tmp_path / name
    kernel = ns.MALA(logdensity_fn=two_modes, restart_stuck_chains=False)
    with pytest.warns(ns.ConvergenceWarning, match=r"R-hat is up to \d+") as caught:
        run(kernel, init_params=APART, store=store)
    assert len(caught) == 1
    # at the caller's line; the shape checks of the tests are a caller too
    assert not caught[0].filename.startswith(str(Path(check.__file__).parents[1]))
    text = str(caught[0].message)
    assert "Param:0[0]" in text
    assert "numpyro_score.diagnostics.assess(dt)" in text
    assert 2 <= len(text.splitlines()) <= 4


def test_chains_that_never_moved_are_numbered() -> None:
    def wall(x: Any) -> Any:
        # between two walls, nearer to each other than a step is long
        return jnp.where(x[0] > 50.0, jnp.where(x[0] < 50.0001, 0.0, -jnp.inf), gaussian(x))

    start = jnp.zeros((NUM_CHAINS, DIM)).at[5, 0].set(50.00005)
    kernel = ns.RandomWalkMetropolis(
        logdensity_fn=wall, step_size=1.0, adapt_step_size=False, adapt_mass_matrix=False
    )
    with pytest.warns(ns.ConvergenceWarning, match="1 of 8 chains never moved: chain 5"):
        run(kernel, init_params=start, num_warmup=0)


def test_a_category_turns_it_off() -> None:
    kernel = ns.MALA(logdensity_fn=two_modes, restart_stuck_chains=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", category=ns.ConvergenceWarning)
        run(kernel, init_params=APART)
    assert not [one for one in caught if issubclass(one.category, ns.ConvergenceWarning)]


def chunk(first: int, num_draws: int, phase: str = SAMPLING) -> Chunk:
    numbers = np.broadcast_to(first + np.arange(num_draws), (2, num_draws))
    return Chunk(phase, first, {"x": numbers.copy()}, {"lp": np.zeros((2, num_draws))})


@pytest.mark.parametrize("lengths", [[10_000], [7, 500, 1, 9_492], [1] * 3_000])
def test_kept_draws_are_evenly_spaced_and_few(lengths: list[int]) -> None:
    kept, first = KeptDraws(2, 0), 0
    kept.add(chunk(0, 5, WARMUP))
    for length in lengths:
        kept.add(chunk(first, length))
        first += length
    numbers = np.concatenate([part.samples["x"] for part in kept._chunks], axis=1)[0]
    steps = np.diff(numbers)
    assert (steps == steps[0]).all()
    assert numbers[0] == 0
    assert first - numbers[-1] <= steps[0]
    assert check.NUM_DRAWS // 2 < numbers.size <= check.NUM_DRAWS or steps[0] == 1


def test_kept_draws_are_numbered_as_in_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that their statistics are found among those of all draws."""

    def posterior(_: Converter, chunk: Chunk) -> xr.Dataset:
        return xr.Dataset({"x": (("chain", "draw"), chunk.samples["x"])})

    monkeypatch.setattr(Converter, "posterior", posterior)
    kept = KeptDraws(2, 0)
    kept.add(chunk(0, 10_000))
    found = kept.posterior(object.__new__(Converter))
    assert found is not None
    assert found.sizes["draw"] < 10_000
    assert (found.draw == found.x.isel(chain=0)).all()


@pytest.mark.usefixtures("unchecked")
def test_draws_of_before_an_interrupt_are_read_from_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = KeptDraws(2, 10)
    kept.add(chunk(10, 100))
    assert kept.posterior(None) is None  # type: ignore[arg-type]
    monkeypatch.setattr(check, "MAX_BYTES", 10)
    many = KeptDraws(2, 0)
    many.add(chunk(0, 100))
    assert many.posterior(None) is None  # type: ignore[arg-type]


def test_the_thinned_draws_give_the_warning_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "NUM_DRAWS", 800)
    monkeypatch.setattr(loop, "COMMIT_BYTES", 1)

    def model() -> None:
        with numpyro.plate("group", 3):
            numpyro.sample("x", dist.MixtureGeneral(MIXING, PARTS))

    kernel = ns.MALA(model, restart_stuck_chains=False)
    start = {"x": APART}
    texts = []
    for store in (None, tmp_path / "run.zarr"):
        with pytest.warns(ns.ConvergenceWarning) as caught:
            run(kernel, init_params=start, store=store)
        texts.append(str(caught[0].message).split(": R-hat")[0])
    named = [set(text.removeprefix("The chains disagree on ").split()) for text in texts]
    assert named[0] - {"and"} <= {"x[0]", "x[1]", "x[2]", "x[0],", "x[1],", "x[2],"}
    assert all("disagree on" in text for text in texts)


MIXING = dist.Categorical(probs=jnp.array([0.5, 0.5]))
PARTS = [dist.Normal(-20.0, 1.0), dist.Normal(20.0, 1.0)]


@pytest.mark.slow
def test_at_most_one_false_alarm_in_200_runs() -> None:
    kernel = ns.MALA(logdensity_fn=gaussian)
    alarms = 0
    for seed in range(200):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ns.ConvergenceWarning)
            run(kernel, rng_key=jax.random.key(seed))
        alarms += bool(caught)
    assert alarms <= 1
