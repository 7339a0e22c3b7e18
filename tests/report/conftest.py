from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from jaxtyping import Float

from numpyro_score.comparison import Comparison, Settings, write_comparison
from numpyro_score.comparison.measures import measure
from numpyro_score.comparison.table import make_table
from numpyro_score.targets import DensityTarget, moments

Values = Float[np.ndarray, "chain draw ..."]

NASTY = "<script>alert(1)"
"""A name that must stay text."""


def _dataset(values: dict[str, Values]) -> xr.Dataset:
    def named(name: str, array: Values) -> tuple[tuple[str, ...], Values]:
        return ("chain", "draw", *(f"{name}_{i}" for i in range(array.ndim - 2))), array

    data = xr.Dataset({name: named(name, array) for name, array in values.items()})
    return data.assign_coords({dim: np.arange(size) for dim, size in data.sizes.items()})


@pytest.fixture(scope="session")
def run() -> Callable[..., xr.DataTree]:
    """A run as `numpyro_score.sample` returns it, made of given draws."""

    def make(draws: dict[str, Values], warmup: dict[str, Values] | None = None, **attrs: Any):
        shape = next(iter(draws.values())).shape[:2]
        stats = {
            "acceptance_rate": np.full(shape, 0.6),
            "diverging": np.zeros(shape, bool),
            "step_size": np.full(shape, 0.5),
            "num_grad": np.ones(shape, int),
            "num_logdensity": np.zeros(shape, int),
        }
        groups = {"posterior": _dataset(draws), "sample_stats": _dataset(stats)}
        if warmup is not None:
            groups["warmup_posterior"] = _dataset(warmup)
            length = next(iter(warmup.values())).shape[1]
            early = {name: values[:, :length] for name, values in stats.items()}
            groups["warmup_sample_stats"] = _dataset(early)
        dt = xr.DataTree.from_dict(groups)
        known = {"sampler": "MALA", "exact": 1, "complete": 1, "num_warmup": 0, "num_restarts": 0}
        seconds = dict.fromkeys(("seconds_compile", "seconds_warmup", "seconds_sampling"), 1.5)
        dt.attrs.update(known | seconds | attrs)
        return dt

    return make


@pytest.fixture(scope="session")
def comparison(run: Callable[..., xr.DataTree]) -> Comparison:
    """Four kernels on one target: one fine, one stuck in modes, one biased, one that failed."""
    rng = np.random.default_rng(0)
    shape = (4, 1000)
    levels = np.array([[-5.0], [5.0], [5.0], [5.0]])
    warmup = {NASTY: 20 + rng.normal(size=(4, 100)), "x": rng.normal(size=(4, 100, 2))}
    runs = {
        "good": run(
            {NASTY: rng.normal(size=shape), "x": rng.normal(size=(*shape, 2))},
            warmup,
            num_warmup=100,
        ),
        "stuck": run({NASTY: levels + rng.normal(size=shape), "x": rng.normal(size=(*shape, 2))}),
        "biased": run(
            {NASTY: 0.3 + rng.normal(size=shape), "x": rng.normal(size=(*shape, 2))}, exact=0
        ),
    }
    known = moments(NASTY, 0.0, 1.0, 3.0)
    target = DensityTarget("toy & <b>", "N(0, I) & more", 1, lambda x: -0.5 * (x**2).sum(), known)
    found = {("toy & <b>", kernel): measure(dt, target) for kernel, dt in runs.items()}
    rows = {place: one.row for place, one in found.items()}
    rows["toy & <b>", "broken"] = {"exact": True, "failure": "ValueError: <img src=x> is no model"}

    def joined(tables: dict[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
        for (name, kernel), table in tables.items():
            table.insert(0, "target", name)
            table.insert(1, "kernel", kernel)
            table.insert(2, "seed", 0)
        return pd.concat(list(tables.values()), ignore_index=True)

    return Comparison(
        table=make_table(rows),
        errors=joined({place: one.errors.copy() for place, one in found.items()}),
        curves=joined({place: one.curve for place, one in found.items()}),
        runs={("toy & <b>", kernel): dt for kernel, dt in runs.items()},
        verdicts={place: one.assessment.verdict for place, one in found.items()},
        descriptions={"toy & <b>": "N(0, I) & more"},
        settings=Settings(100, 1000, 4),
    )


@pytest.fixture(scope="session")
def comparison_page(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The comparison's page, written once."""
    path = tmp_path_factory.mktemp("page") / "comparison.html"
    return write_comparison(comparison, path, progress=False)
