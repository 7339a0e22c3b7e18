"""Nothing is lost at the end of a run: what cannot be kept is refused before the first step."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.infer import NUTS

import numpyro_score as ns
from numpyro_score.run import runner
from numpyro_score.run.tree import Converter

run = partial(
    ns.sample, rng_key=jax.random.key(0), num_warmup=0, num_samples=4, num_chains=2, progress=False
)
NORMAL = dist.Normal(0.0, 1.0)


def site(*names: str) -> Callable[[], None]:
    def model() -> None:
        for name in names:
            numpyro.sample(name, NORMAL)

    return model


def plate(name: str, *, of: str = "x") -> Callable[[], None]:
    def model() -> None:
        with numpyro.plate(name, 3):
            numpyro.sample(of, NORMAL)

    return model


def with_derived(name: str) -> Callable[[], None]:
    def model() -> None:
        numpyro.deterministic(name, numpyro.sample("x", NORMAL))

    return model


def dimension(name: str) -> Callable[[], None]:
    def model() -> None:
        numpyro.sample("z", NORMAL)
        numpyro.sample("x", NORMAL.expand([3]).to_event(1), infer={"event_dims": [name]})

    return model


REFUSED: dict[str, tuple[Callable[[], None], str]] = {
    "a site named draw": (site("draw", "z"), "site 'draw' is .* rename it .* 'draw_site'"),
    "a site named chain": (site("chain"), "site 'chain' is named as an axis"),
    "a derived site named draw": (with_derived("draw"), "site 'draw' is named as an axis"),
    "a plate named chain": (plate("chain"), "plate 'chain' is .* such as 'chain_plate'"),
    "a plate named draw": (plate("draw"), "plate 'draw' is named as an axis"),
    "a dimension named chain": (dimension("chain"), "plate 'chain' is named as an axis"),
    "two names that are one": (site("a/b", "a.b"), "'a/b' and 'a.b' are both 'a.b'|'a.b' and"),
    "a site named as a dimension": (dimension("z"), "site 'z' is named as a plate"),
}


@pytest.fixture
def no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step would fail."""
    monkeypatch.setattr(runner, "compile_for", None)


@pytest.mark.usefixtures("no_steps")
@pytest.mark.parametrize("kernel", [ns.MALA, NUTS])
@pytest.mark.parametrize("kind", REFUSED)
def test_names_are_refused_before_the_run(kind: str, kernel: Any) -> None:
    model, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        run(kernel(model))


def test_scoped_names_are_kept() -> None:
    assert set(run(ns.MALA(site("a/b", "c"))).posterior.data_vars) == {"a.b", "c"}


def mixture(y: Any) -> None:
    loc = numpyro.sample("loc", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    with numpyro.plate("N", len(y)):
        c = numpyro.sample("c", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
        numpyro.sample("y", dist.Normal(loc[c], 1.0), obs=y)


def half(x: Any) -> Any:
    return x.astype(jnp.bfloat16)


def of_half_precision() -> None:
    numpyro.deterministic("half", half(numpyro.sample("x", NORMAL)))


class Odd(ns.MALA):
    """A kernel with something to record that no file holds."""

    @property
    def attributes(self) -> dict[str, Any]:
        return {"odd": object(), "seconds_training": 0.0}


@pytest.mark.usefixtures("no_steps")
def test_what_cannot_be_computed_or_written_is_refused_before_the_run(tmp_path: Path) -> None:
    y = np.array([1.0, 2.0])
    with pytest.raises(ValueError, match=r"log_likelihood=True, but .* discrete sites"):
        run(ns.MALA(mixture), model_args=(y,), log_likelihood=True)
    for name in ("run.nc", "run.zarr"):
        with pytest.raises(ValueError, match=r"cannot be written to .*run\."):
            run(Odd(site("x")), store=tmp_path / name)
    with pytest.raises(ValueError, match=r"cannot be written to .*bfloat16"):
        run(ns.MALA(of_half_precision), store=tmp_path / "half.nc")
    nested = {"a": {"b": jnp.zeros(2)}}
    with pytest.raises(ValueError, match="an array or a dict of arrays"):
        run(ns.MALA(logdensity_fn=lambda x: -0.5 * x["a"]["b"] ** 2), init_params=nested)
    assert not list(tmp_path.iterdir())


def fail(*args: Any, **kwargs: Any) -> Any:
    raise OSError(28, "No space left on device")


def test_draws_that_cannot_be_converted_are_kept_as_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = ns.MALA(site("x"))
    expected = run(kernel).posterior["x"]
    original, count = Converter.groups, iter(range(10))
    monkeypatch.setattr(
        Converter, "groups", lambda *args: original(*args) if next(count) == 0 else fail()
    )
    with pytest.raises(RuntimeError, match=r"kept as they were drawn in .*draws\.npz") as caught:
        run(kernel)
    path = str(caught.value).split(" drawn in ")[1].split(";")[0]
    with np.load(path) as kept:
        np.testing.assert_array_equal(kept["sampling[0]['x']"], expected)


def test_draws_that_cannot_be_written_are_written_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = ns.MALA(site("x"))
    original = xr.DataTree.to_netcdf

    def full(tree: xr.DataTree, path: Path, **options: Any) -> None:
        if path == tmp_path / "run.nc":
            fail()
        original(tree, path, **options)

    monkeypatch.setattr(xr.DataTree, "to_netcdf", full)
    with pytest.warns(RuntimeWarning, match="No space left .* draws are in") as caught:
        dt = run(kernel, store=tmp_path / "run.nc")
    path = str(caught[0].message).split("the draws are in ")[1].split(",")[0]
    np.testing.assert_array_equal(az.from_netcdf(path).posterior["x"], dt.posterior["x"])


def empty() -> None:
    numpyro.sample("a", NORMAL)
    numpyro.sample("b", dist.Normal(0.0, 1.0).expand([0]).to_event(1))
    numpyro.deterministic("c", jnp.zeros((0, 3)))


@pytest.mark.parametrize("name", [None, "run.nc", "run.zarr"])
def test_sites_of_size_zero(name: str | None, tmp_path: Path) -> None:
    store = None if name is None else tmp_path / name
    dt = run(ns.MALA(empty), num_warmup=3, store=store)
    if name == "run.nc":
        dt = az.from_netcdf(store)
    shapes = {k: v.shape for k, v in dt.posterior.data_vars.items()}
    assert shapes == {"a": (2, 4), "b": (2, 4, 0), "c": (2, 4, 0, 3)}
    if name == "run.zarr":
        assert run(ns.MALA(empty), num_warmup=3, store=store, resume=True).attrs["complete"] == 1
