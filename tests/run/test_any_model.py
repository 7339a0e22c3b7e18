"""Models of any shape: the draws are those of NumPyro's `MCMC`, and no file loses one."""

import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpyro.infer import MCMC

import numpyro_score as ns
from numpyro_score.run.names import AXES, check_names, stored_name

CHAINS, WARMUP, DRAWS = 3, 4, 6

LATENT: dict[str, Callable[[int], Any]] = {
    "normal": lambda n: dist.Normal(0.0, 1.0),
    "positive": lambda n: dist.HalfNormal(2.0),
    "share": lambda n: dist.Beta(2.0, 3.0),
    "interval": lambda n: dist.Uniform(-1.0, 3.0),
    "vector": lambda n: dist.Normal(jnp.zeros(n), 1.0).to_event(1),
    "simplex": lambda n: dist.Dirichlet(jnp.ones(max(n, 1))),
    "gaussian": lambda n: dist.MultivariateNormal(jnp.zeros(max(n, 1)), jnp.eye(max(n, 1))),
    "correlation": lambda n: dist.LKJCholesky(max(n, 2)),
    "ordered": lambda n: dist.ImproperUniform(dist.constraints.ordered_vector, (), (max(n, 1),)),
}

OBSERVED: dict[str, Any] = {
    "float16": np.float16,
    "float32": np.float32,
    "float64": np.float64,
    "bool": np.bool_,
    "uint8": np.uint8,
    "int64": np.int64,
}

DERIVED: dict[str, Callable[[Any], Any]] = {
    "bool": lambda x: x > 0,
    "int": lambda x: jnp.round(x).astype(jnp.int32),
    "sum": jnp.sum,
    "empty": lambda x: jnp.zeros((0, *x.shape)),
    "constant": lambda x: jnp.float32(1.5),
}


class Site(NamedTuple):
    name: str
    kind: str
    size: int
    in_plates: int


class Shape(NamedTuple):
    """A model: latent sites, plates from the last axis on, what is derived, types of the data."""

    latent: list[Site]
    plates: list[tuple[str, int]]
    derived: list[tuple[str, str]]
    observed: list[tuple[str, str]]


# letters of several scripts, blanks, dots, slashes, and what files and shells trip over
NAMES = st.text("abzAZ09_ ./-:+*'\"#%éßλ漢", min_size=1, max_size=8).filter(
    lambda name: stored_name(name) not in (".", "..")  # no folder has such a name
)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Models whose names the result can hold."""
    counts = [draw(st.integers(low, high)) for low, high in ((1, 3), (0, 2), (0, 2), (0, 2))]
    names = draw(st.lists(NAMES, min_size=sum(counts), max_size=sum(counts), unique_by=stored_name))
    assume(not set(names) & set(AXES))
    taken = iter(names)
    of_latent, of_plates, of_derived, of_data = ([next(taken) for _ in range(n)] for n in counts)
    plates = [(name, draw(st.integers(1, 3))) for name in of_plates]
    latent = [
        Site(
            name,
            draw(st.sampled_from(sorted(LATENT))),
            draw(st.integers(0, 3)),
            draw(st.integers(0, len(plates))),
        )
        for name in of_latent
    ]
    derived = [(name, draw(st.sampled_from(sorted(DERIVED)))) for name in of_derived]
    observed = [(name, draw(st.sampled_from(sorted(OBSERVED)))) for name in of_data]
    return Shape(latent, plates, derived, observed)


def model_of(shape: Shape) -> Callable[..., None]:
    def model(*data: Any) -> None:
        plates = [
            numpyro.plate(name, size, dim=-1 - i) for i, (name, size) in enumerate(shape.plates)
        ]
        values = []
        for site in shape.latent:
            with numpyro.handlers.mask(mask=True):
                entered = plates[: site.in_plates]
                for plate in entered:
                    plate.__enter__()
                values.append(numpyro.sample(site.name, LATENT[site.kind](site.size)))
                for plate in reversed(entered):
                    plate.__exit__(None, None, None)
        for name, kind in shape.derived:
            numpyro.deterministic(name, DERIVED[kind](values[0]))
        centre = sum(jnp.sum(value) for value in values)
        for (name, _), y in zip(shape.observed, data, strict=True):
            if jnp.issubdtype(y.dtype, jnp.floating):
                numpyro.sample(name, dist.Normal(centre, 5.0), obs=y)
            elif y.dtype == bool:
                numpyro.sample(name, dist.Bernoulli(logits=0.1 * centre), obs=y)
            else:
                numpyro.sample(name, dist.Poisson(jnp.exp(0.1 * jnp.tanh(centre))), obs=y)

    return model


def check_all_ways(shape: Shape) -> None:
    """The same draws from `sample` and `MCMC`, and from each kind of file."""
    data = tuple(np.array([1, 0, 1], OBSERVED[kind]) for _, kind in shape.observed)
    kernel = ns.MALA(model_of(shape), step_size=0.05, adapt_step_size=False)
    key = jax.random.key(3)
    lengths: dict[str, Any] = {"num_warmup": WARMUP, "num_samples": DRAWS, "num_chains": CHAINS}
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # runs of six draws are not about convergence
        warnings.simplefilter("ignore", ns.ConvergenceWarning)
        store = Path(folder) / "run.zarr"
        tree = ns.sample(kernel, key, model_args=data, store=store, progress=False, **lengths)
        mcmc = MCMC(kernel, chain_method="vectorized", progress_bar=False, **lengths)
        mcmc.run(key, *data)
        theirs = mcmc.get_samples(group_by_chain=True)
        ours = tree["posterior"].dataset
        assert set(ours.data_vars) == {stored_name(name) for name in theirs}
        for name, draws in theirs.items():
            found = ours[stored_name(name)].values
            assert found.dtype == np.asarray(draws).dtype
            np.testing.assert_allclose(found, draws, rtol=1e-3, atol=1e-4)
        for (name, _), y in zip(shape.observed, data, strict=True):
            np.testing.assert_array_equal(tree["observed_data"].dataset[stored_name(name)], y)
        file = Path(folder) / "copy.nc"
        tree.to_netcdf(file, engine="h5netcdf")
        for path, engine in ((store, "zarr"), (file, "h5netcdf")):
            with xr.open_datatree(path, engine=engine) as again:
                for group in tree.children:
                    expected = tree[group].to_dataset()
                    xr.testing.assert_equal(again[group].to_dataset()[list(expected)], expected)


bounded = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@given(shapes())
@settings(bounded, max_examples=1)
def test_any_model(shape: Shape) -> None:
    check_all_ways(shape)


@pytest.mark.slow
@given(shape=shapes())
@settings(bounded, max_examples=200)
def test_two_hundred_models(shape: Shape, drop_programs: Callable[[], None]) -> None:
    drop_programs()
    check_all_ways(shape)


@given(st.lists(NAMES | st.sampled_from(AXES), max_size=4), st.lists(NAMES, max_size=3))
@settings(bounded, max_examples=100)
def test_names_that_pass_are_held(sites: list[str], plates: list[str]) -> None:
    """Nothing that `check_names` lets pass is lost in a tree."""
    try:
        check_names(sites, dict.fromkeys(sites, plates))
    except ValueError:
        return
    dims = ("chain", "draw", *dict.fromkeys(plates))
    data = np.zeros([1] * len(dims))
    tree = xr.DataTree.from_dict(
        {"/posterior": xr.Dataset({stored_name(site): (dims, data) for site in sites})}
    )
    assert len(tree["posterior"].data_vars) == len(sites)
