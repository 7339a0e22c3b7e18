"""`ns.sample`: any kernel to a `DataTree`, the same draws however the run is cut."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import arviz as az
import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import AIES, HMC, MCMC, NUTS, SA, BarkerMH, Gibbs
from numpyro.infer.mcmc import MCMCKernel

import numpyro_score as ns
from numpyro_score import progress
from numpyro_score.infer import NumPyroKernel
from numpyro_score.run import loop
from numpyro_score.run.tree import SAMPLING, Chunk, Converter

SIGMAS = 4.5
NUM_GROUPS = 3
Y = jnp.array([0.4, 1.1, -0.2])
# scale known: group ~ N(0, 1), y ~ N(group, .5), so group | y is N(.8 y, .2)
MEAN, SD = 0.8 * np.asarray(Y), np.sqrt(0.2)


def model(y: Any = None, *, noise: float = 0.5) -> None:
    """Conjugate groups on a plate, and a positive site that the data do not touch."""
    width = numpyro.sample("width", dist.LogNormal(0.0, 0.5))
    with numpyro.plate("group", NUM_GROUPS):
        effect = numpyro.sample("effect", dist.Normal(0.0, 1.0))
        numpyro.deterministic("doubled", 2 * effect)
        numpyro.sample("y", dist.Normal(effect, noise), obs=y)
    numpyro.deterministic("area", width**2)


def parabola(z: Any) -> Any:
    return -0.5 * (jnp.sum(z["a"] ** 2) + jnp.sum(z["b"] ** 2))


pytestmark = pytest.mark.usefixtures("quick_compilation")


run = partial(ns.sample, progress=False)
small = partial(
    run,
    rng_key=jax.random.key(0),
    num_warmup=60,
    num_samples=40,
    num_chains=4,
    model_args=(Y,),
)


@pytest.fixture(scope="module")
def mala_tree() -> xr.DataTree:
    return small(
        ns.MALA(model),
        num_warmup=200,
        num_samples=300,
        num_chains=8,
        log_likelihood=True,
        extra_fields=("adapt_state.inverse_mass_matrix", "i"),
    )


# -- the tree -------------------------------------------------------------------------------------


def test_groups_dims_and_coords(mala_tree: xr.DataTree) -> None:
    assert set(mala_tree.children) == {
        "posterior",
        "sample_stats",
        "warmup_posterior",
        "warmup_sample_stats",
        "observed_data",
        "log_likelihood",
    }
    posterior = mala_tree["posterior"]
    assert set(posterior.data_vars) == {"width", "effect", "doubled", "area"}
    assert posterior["effect"].dims == ("chain", "draw", "group")
    assert posterior["doubled"].dims == ("chain", "draw", "group")
    assert posterior["width"].dims == ("chain", "draw")
    assert posterior["effect"].shape == (8, 300, NUM_GROUPS)
    assert mala_tree["warmup_posterior"]["effect"].shape == (8, 200, NUM_GROUPS)
    assert mala_tree["log_likelihood"]["y"].dims == ("chain", "draw", "group")
    np.testing.assert_array_equal(mala_tree["observed_data"]["y"], Y)
    np.testing.assert_allclose(posterior["doubled"], 2 * posterior["effect"], rtol=1e-6)
    np.testing.assert_allclose(posterior["area"], posterior["width"] ** 2, rtol=1e-5)
    assert np.isfinite(posterior["effect"]).all()


@pytest.mark.parametrize("group", ["sample_stats", "warmup_sample_stats"])
def test_statistics(group: str, mala_tree: xr.DataTree) -> None:
    stats = mala_tree[group]
    assert {"lp", "acceptance_rate", "diverging", "step_size", "num_grad", "num_logdensity"} <= set(
        stats.data_vars
    )
    num_draws = 300 if group == "sample_stats" else 200
    assert stats["lp"].shape == (8, num_draws)
    assert (stats["num_grad"] == 1).all()


def test_moments(mala_tree: xr.DataTree) -> None:
    effect = np.asarray(mala_tree["posterior"]["effect"], float)
    for group in range(NUM_GROUPS):
        values = effect[..., group]
        ess = min(effective_sample_size(values), values.size)
        assert ess > 200
        assert abs(values.mean() - MEAN[group]) < SIGMAS * SD / np.sqrt(ess)
        assert abs(values.std() / SD - 1) < SIGMAS / np.sqrt(ess)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto distribution")
def test_log_likelihood_serves_loo_and_psense(mala_tree: xr.DataTree) -> None:
    expected = dist.Normal(mala_tree["posterior"]["effect"].values, 0.5).log_prob(Y)
    np.testing.assert_allclose(mala_tree["log_likelihood"]["y"], expected, rtol=1e-4, atol=1e-4)
    loo = az.loo(mala_tree)
    assert np.isfinite(loo.elpd)
    mala_tree["log_prior"] = xr.DataTree(
        xr.Dataset({"effect": -0.5 * mala_tree["posterior"]["effect"] ** 2})
    )
    try:
        found = az.psense(mala_tree, var_names=["effect"])
        assert np.isfinite(found["effect"]).all()
    finally:
        del mala_tree["log_prior"]


def test_attributes(mala_tree: xr.DataTree) -> None:
    attrs = mala_tree.attrs
    assert attrs["sampler"] == "MALA"
    assert attrs["exact"] == 1
    assert attrs["complete"] == 1
    assert attrs["num_warmup"] == 200
    assert attrs["num_chains"] == 8
    assert attrs["num_restarts"] == 0
    assert attrs["target_accept_prob"] == 0.574
    for name in ("compile", "warmup", "sampling"):
        assert attrs[f"seconds_{name}"] > 0


def test_the_step_count_is_collected_once_a_chain() -> None:
    tree = small(ns.MALA(model), extra_fields=("i",))
    np.testing.assert_array_equal(tree["sample_stats"].dataset["i"][0], 60 + 1 + np.arange(40))


def test_nested_extra_fields(mala_tree: xr.DataTree) -> None:
    stats = mala_tree["sample_stats"].dataset
    names = [n for n in stats.data_vars if "inverse_mass_matrix" in str(n)]
    assert len(names) == 1
    assert stats[str(names[0])].shape == (8, 300, 4)


def test_netcdf_round_trip(mala_tree: xr.DataTree, tmp_path: Path) -> None:
    path = tmp_path / "draws.nc"
    mala_tree.to_netcdf(path, engine="h5netcdf")
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        back = tree.load()
    assert set(back.children) == set(mala_tree.children)
    assert {k: back.attrs[k] for k in mala_tree.attrs} == dict(mala_tree.attrs)
    for name, group in mala_tree.children.items():
        # netCDF knows no booleans; h5netcdf keeps them
        xr.testing.assert_allclose(back[name].to_dataset(), group.to_dataset())


# -- what does not change the draws ---------------------------------------------------------------

CUTS: dict[str, dict[str, float]] = {
    "one draw a chunk": {"CHUNK_SECONDS": 0.0, "FIRST_CHUNK": 1},
    "seven first": {"FIRST_CHUNK": 7, "CHUNK_SECONDS": 1e-3},
    "all at once": {"FIRST_CHUNK": 10_000},
    "small buffers": {"BUFFER_BYTES": 2_000},
}


PLAIN = ns.MALA(model)  # one object, compiled once


@pytest.fixture(scope="module")
def plain_tree() -> xr.DataTree:
    return small(PLAIN)


@pytest.mark.parametrize("cut", CUTS)
def test_draws_are_the_same_bits_however_cut(
    cut: str, plain_tree: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CUTS[cut].items():
        monkeypatch.setattr(loop if hasattr(loop, name) else progress, name, value)
    tree = small(PLAIN)
    for name in plain_tree.children:
        xr.testing.assert_equal(tree[name].to_dataset(), plain_tree[name].to_dataset())


@pytest.mark.parametrize("lengths", [{}, {"num_warmup": 0}, {"thinning": 5}])
def test_what_an_accelerator_runs_draws_the_same(
    lengths: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loops of known length and a program for each phase, tried out on the CPU."""
    expected = small(PLAIN, **lengths)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(progress, "FIRST_CHUNK", 3)
    tree = small(PLAIN, **lengths)
    for group in ("warmup_posterior", "posterior"):
        if group in expected.children:
            np.testing.assert_allclose(
                tree[group].dataset["effect"], expected[group].dataset["effect"], 1e-4, 1e-5
            )


def test_thinning_keeps_every_nth(plain_tree: xr.DataTree) -> None:
    tree = small(ns.MALA(model), thinning=5)
    for group in ("posterior", "warmup_posterior"):
        np.testing.assert_allclose(
            tree[group].dataset["effect"],
            plain_tree[group].dataset["effect"][:, 4::5],
            rtol=1e-5,
            atol=1e-6,
        )
    assert tree["posterior"].sizes["draw"] == 8
    assert tree["warmup_posterior"].sizes["draw"] == 12


@pytest.mark.parametrize(
    "kernel",
    [partial(ns.BlackJAXKernel, blackjax.nuts), pytest.param(NUTS, marks=pytest.mark.slow)],
)
def test_thinning_does_not_change_the_cost(kernel: Any) -> None:
    """A kept draw holds the evaluations since the last one; 41 is no multiple of 5."""
    whole, thinned = (small(kernel(model), num_warmup=41, thinning=n) for n in (1, 5))
    for group in ("warmup_sample_stats", "sample_stats"):
        every = whole[group].dataset["num_grad"]
        kept = thinned[group].dataset["num_grad"]
        assert kept.sizes["draw"] < every.sizes["draw"]
        assert every.std() > 0
        if kernel is NUTS:
            # NumPyro's kernels do not count: five times the steps of the draw that is kept
            np.testing.assert_array_equal(kept, 5 * thinned[group].dataset["n_steps"])
        else:
            assert int(kept.sum()) == int(every.sum())


def test_warmup_need_not_be_kept(plain_tree: xr.DataTree) -> None:
    tree = small(PLAIN, keep_warmup=False)
    assert set(tree.children) == {"posterior", "sample_stats", "observed_data"}
    xr.testing.assert_equal(tree["posterior"].to_dataset(), plain_tree["posterior"].to_dataset())


def test_draws_are_those_of_numpyro_s_mcmc(plain_tree: xr.DataTree) -> None:
    mcmc = MCMC(
        ns.MALA(model),
        num_warmup=60,
        num_samples=40,
        num_chains=4,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(0), Y)
    theirs = az.from_numpyro(mcmc)
    for name in ("effect", "width", "area"):
        np.testing.assert_allclose(
            plain_tree["posterior"][name], theirs["posterior"][name], rtol=1e-3, atol=1e-4
        )
    np.testing.assert_allclose(
        plain_tree["sample_stats"]["lp"], theirs["sample_stats"]["lp"], rtol=1e-3, atol=1e-3
    )
    assert set(theirs["sample_stats"].data_vars) <= set(plain_tree["sample_stats"].data_vars)
    assert theirs["posterior"]["effect"].dims == plain_tree["posterior"]["effect"].dims


# -- any kernel -----------------------------------------------------------------------------------

KERNELS: dict[str, tuple[Callable[..., MCMCKernel], int]] = {
    "nuts": (NUTS, 8),
    "hmc": (lambda m: HMC(m, num_steps=5, trajectory_length=None), 8),
    "barker": (BarkerMH, 8),
    "aies": (AIES, 20),
    "sa": (lambda m: SA(m, adapt_state_size=20), 8),
    "gibbs": (
        lambda m: Gibbs([(ns.MALA(m), ["effect"]), (ns.RandomWalkMetropolis(m), ["width"])]),
        8,
    ),
    "rwm": (ns.RandomWalkMetropolis, 8),
    "ula": (lambda m: ns.ULA(m, step_size=0.05), 8),
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=pytest.mark.slow) if c in ("hmc", "rwm", "ula") else c for c in KERNELS],
)
def test_any_kernel_runs(case: str) -> None:
    make, num_chains = KERNELS[case]
    num_samples = 3_000 if case == "sa" else 400
    tree = small(make(model), num_warmup=300, num_samples=num_samples, num_chains=num_chains)
    effect = np.asarray(tree["posterior"]["effect"], float)
    assert effect.shape == (num_chains, num_samples, NUM_GROUPS)
    for group in range(NUM_GROUPS):
        values = effect[..., group]
        ess = min(effective_sample_size(values), values.size)
        limit = SIGMAS * SD / np.sqrt(ess) + (0.05 * SD if case == "ula" else 0)
        assert abs(values.mean() - MEAN[group]) < limit
    assert tree.attrs["exact"] == int(case != "ula")
    stats = tree["sample_stats"].data_vars
    if case in ("nuts", "hmc"):
        np.testing.assert_array_equal(stats["num_grad"], stats["n_steps"])
    if case in ("nuts", "hmc", "barker", "rwm", "ula"):
        assert (stats["num_grad"] + stats["num_logdensity"] >= 1).all()


def test_functions_of_pytrees() -> None:
    start = {"a": jnp.zeros((4, 2)), "b": jnp.zeros((4,))}
    tree = small(ns.MALA(logdensity_fn=parabola), init_params=start, model_args=())
    posterior = tree["posterior"]
    assert posterior["a"].shape == (4, 40, 2)
    assert posterior["b"].shape == (4, 40)
    array = small(
        ns.MALA(logdensity_fn=lambda x: -0.5 * jnp.sum(x**2)),
        init_params=jnp.zeros((4, 3)),
        model_args=(),
    )
    assert len(array["posterior"].data_vars) == 1


def test_draws_of_a_named_tuple_have_the_names_of_its_fields() -> None:
    class Pair(NamedTuple):
        a: Any
        b: Any

    draws = Pair(np.zeros((4, 9, 2), np.float32), np.ones((4, 9), np.float32))
    kernel = ns.MALA(logdensity_fn=lambda z: parabola(z._asdict()))
    converter = Converter(kernel, (), {}, with_log_likelihood=False, thinning=1)
    posterior = converter.posterior(Chunk(SAMPLING, 0, draws, {}))
    assert {name: x.shape for name, x in posterior.items()} == {"a": (4, 9, 2), "b": (4, 9)}


def test_init_params_are_where_chains_start() -> None:
    start = {"effect": jnp.full((4, 3), 5.0), "width": jnp.full(4, 1.5)}
    kernel = ns.MALA(model, step_size=1e-9, adapt_step_size=False, inverse_mass_matrix=1.0)
    tree = small(kernel, init_params=start, num_warmup=0, num_samples=1)
    np.testing.assert_allclose(tree["posterior"]["effect"], 5.0, atol=1e-3)
    np.testing.assert_allclose(tree["posterior"]["width"], np.exp(1.5), atol=1e-2)
    assert "warmup_posterior" not in tree.children


def test_keyword_arguments_reach_the_model() -> None:
    tree = small(
        ns.MALA(model), model_args=(), model_kwargs={"y": Y, "noise": 1e-2}, num_samples=100
    )
    assert np.abs(tree["posterior"]["effect"].mean(("chain", "draw")) - Y).max() < 0.01


# -- compiled once --------------------------------------------------------------------------------


def test_a_second_call_traces_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = NumPyroKernel.sample

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(NumPyroKernel, "sample", counted)
    kernel = ns.MALA(model)
    first = small(kernel)
    traced = len(calls)
    assert traced > 0
    for lengths in ({}, {"num_warmup": 50, "num_samples": 35}):
        again = small(kernel, rng_key=jax.random.key(1), **lengths)
        assert len(calls) == traced
    assert not np.allclose(
        again["posterior"].dataset["effect"][:, :35], first["posterior"].dataset["effect"][:, :35]
    )


# -- interrupted ----------------------------------------------------------------------------------


ROW_BYTES = 4 * (4 * 4 + 5 * 4 + 1)  # of four chains: four coordinates and six statistics


def interrupt_after(num_chunks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 16 draws, and Ctrl-C while one more is drawn."""
    original = loop.run_chunk
    seen = []

    def interrupted(
        program: Any, state: Any, buffers: Any, num_rows: Any, skipped: Any, arrays: Any
    ) -> Any:
        if int(num_rows) > 0:
            seen.append(int(num_rows))
            if len(seen) > num_chunks:
                raise KeyboardInterrupt
        return original(program, state, buffers, num_rows, skipped, arrays)

    monkeypatch.setattr(loop, "run_chunk", interrupted)
    monkeypatch.setattr(loop, "BUFFER_BYTES", 16 * ROW_BYTES)
    monkeypatch.setattr(progress, "FIRST_CHUNK", 10_000)
    monkeypatch.setattr(progress, "CHUNK_SECONDS", 1e9)


@pytest.mark.parametrize(
    ("num_chunks", "kept"), [(0, (0, 0)), (1, (16, 0)), (4, (60, 0)), (5, (60, 16))]
)
def test_an_interrupt_keeps_the_draws_so_far(
    num_chunks: int,
    kept: tuple[int, int],
    plain_tree: xr.DataTree,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    interrupt_after(num_chunks, monkeypatch)
    tree = small(PLAIN)
    assert tree.attrs["complete"] == 0
    for prefix, length in zip(("warmup_", ""), kept, strict=True):
        for group in (f"{prefix}posterior", f"{prefix}sample_stats"):
            assert (group in tree.children) == (length > 0)
            if length > 0:
                expected = plain_tree[group].to_dataset().isel(draw=slice(0, length))
                xr.testing.assert_equal(tree[group].to_dataset(), expected)


def test_the_progress_bar_tells(capsys: pytest.CaptureFixture[str]) -> None:
    small(PLAIN, num_warmup=20, num_samples=44, progress=True)
    shown = capsys.readouterr().err
    assert "sampling" in shown
    assert "64/64" in shown
    assert "accept 0." in shown


# -- bad input ------------------------------------------------------------------------------------

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no samples": ({"num_samples": 0}, "num_samples is 0, .* at least 1"),
    "negative warmup": ({"num_warmup": -1}, "num_warmup is -1, .* at least 0"),
    "no chains": ({"num_chains": 0}, "num_chains is 0"),
    "a fraction": ({"num_samples": 10.5}, "num_samples is 10.5, .* whole number"),
    "no thinning": ({"thinning": 0}, "thinning is 0"),
    "thinned away": ({"thinning": 50}, "thinning=50 keeps none of num_samples=40"),
    "unknown field": ({"extra_fields": ("speed",)}, "no field 'speed'; it has i, kernel_state"),
    "misshapen start": ({"init_params": {"effect": jnp.zeros(3)}}, "init_params has shapes"),
    "a start without chains": ({"init_params": jnp.zeros(())}, "leading axis of 4, with one point"),
    "a start too few": ({"init_params": {"effect": jnp.zeros((3, 3))}}, "leading axis of 4"),
    "starts of superchains": (
        {"init_params": {"effect": jnp.zeros((4, 3))}, "num_superchains": 2},
        "leading axis of 2, with one point for each superchain",
    ),
    "keys": ({"rng_key": jax.random.split(jax.random.key(0), 4)}, r"keys of shape \(4,\)"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("seed", [0, 2**70, None])
def test_a_seed_is_no_key(seed: Any) -> None:
    with pytest.raises(TypeError, match=r"must be a key of JAX; give jax\.random\.key"):
        small(PLAIN, rng_key=seed)


@pytest.mark.usefixtures("unchecked")
def test_keys_of_either_kind_and_integers_of_numpy(plain_tree: xr.DataTree) -> None:
    lengths = {"num_warmup": 60, "num_samples": 40, "num_chains": 4, "thinning": 1}
    as_numpy: dict[str, Any] = {name: np.int64(value) for name, value in lengths.items()}
    tree = small(PLAIN, rng_key=jax.random.PRNGKey(0), **as_numpy)
    xr.testing.assert_equal(tree.posterior.to_dataset(), plain_tree.posterior.to_dataset())
    assert type(tree.attrs["num_chains"]) is int


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", BAD)
def test_bad_arguments(kind: str) -> None:
    options, message = BAD[kind]
    with pytest.raises(ValueError, match=message):
        small(PLAIN, **options)
