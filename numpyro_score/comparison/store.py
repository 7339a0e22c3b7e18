"""A comparison on disk: a Zarr group with a group for every run, and one for the tables.

Runs are written as they proceed (`numpyro_score.sample(store=...)`), so that a comparison that was
killed can be resumed; tables are written at the end. The settings are in the attributes of the root
from the start, and another comparison is refused.
"""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import xarray as xr

from numpyro_score.comparison.identity import differences
from numpyro_score.comparison.result import Comparison, Settings, plain_settings
from numpyro_score.comparison.table import with_types
from numpyro_score.comparison.thin import thinned
from numpyro_score.diagnostics.verdict import Verdict
from numpyro_score.run import Evaluations, Seconds

RECORD = "numpyro_score_comparison"
"""Attribute of the root: the settings of the comparison."""

RUNS, RESULTS = "runs", "results"

FORMAT = 2
"""Of Zarr: format 3 has no stable way yet to store text."""


def _settings(plain: dict[str, Any]) -> Settings:
    if "budget" not in plain:
        return Settings(**plain)
    name, number = plain["budget"]
    unit = {one.__name__: one for one in (Evaluations, Seconds)}[name]
    return Settings(**(plain | {"budget": unit(number)}))


def run_path(store: Path, target: str, kernel: str, seed: int) -> Path:
    """Where a run is kept.

    Parameters
    ----------
    store
        The comparison's folder.
    target, kernel, seed
        Which run.

    Examples
    --------
    >>> run_path(Path("a.zarr"), "toy", "my/kernel", 0).as_posix()
    'a.zarr/runs/toy,my%2Fkernel,0.zarr'
    """
    name = f"{quote(target, safe='')},{quote(kernel, safe='')},{seed}.zarr"
    return store / RUNS / name


def claim(store: str | Path, record: dict[str, Any], *, resume: bool) -> Path:
    """Make the folder of a comparison, or make sure that it is of this one.

    Parameters
    ----------
    store
        Its path, ending in .zarr.
    record
        What makes the comparison what it is.
    resume
        Whether to go on with what is there, if anything is.

    Raises
    ------
    ValueError
        If the ending is another, or another comparison is kept there; the differences are named.
    FileExistsError, FileNotFoundError
        If it is there and not to be resumed, or its folder is not there.
    """
    path = Path(store).absolute()
    if path.suffix != ".zarr":
        raise ValueError(f"the store of a comparison is a folder named *.zarr, got {path.name!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} of the store does not exist; make it")
    if path.exists():
        if not resume:
            raise FileExistsError(
                f"{path} exists; give another path, or resume=True to go on with it"
            )
        changed = differences(_record(path), record)
        if changed:
            raise ValueError(
                f"{path} holds another comparison ({'; '.join(changed)}); give the same settings, "
                "or another store"
            )
        return path
    (path / RUNS).mkdir(parents=True)
    _write_json(path / RUNS / ".zgroup", {"zarr_format": FORMAT})
    _write_json(path / ".zattrs", {RECORD: record})
    # last: what makes the folder a group
    _write_json(path / ".zgroup", {"zarr_format": FORMAT})
    return path


def _record(path: Path) -> dict[str, Any]:
    try:
        return json.loads((path / ".zattrs").read_text("utf-8"))[RECORD]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} is not a comparison that numpyro_score.compare(store=...) wrote"
        ) from error


def _write_json(path: Path, content: dict[str, Any]) -> None:
    new = path.with_name(f".new{path.name}")
    new.write_text(json.dumps(content), encoding="utf-8")
    os.replace(new, path)


def _to_dataset(table: pd.DataFrame) -> xr.Dataset:
    """Columns as variables: text as text, all else as float64, what is missing as NaN."""

    def plain(values: pd.Series) -> np.ndarray:
        if values.map(lambda value: isinstance(value, str)).any():
            return np.array([str(value) for value in values], dtype=str)
        return values.astype("float64").to_numpy()

    # a group does not keep the order of its variables
    columns = [str(name) for name in table]
    return xr.Dataset(
        {name: ("row", plain(table[name])) for name in columns}, attrs={"columns": columns}
    )


def _to_table(data: xr.Dataset) -> pd.DataFrame:
    return pd.DataFrame({name: data[name].values for name in data.attrs["columns"]})


def save(comparison: Comparison, path: Path, runs: dict[tuple[str, str], str]) -> None:
    """Write the tables of a comparison beside its runs; what was there before is replaced whole.

    Parameters
    ----------
    comparison
        What was found.
    path
        As `claim` returns it.
    runs
        `(target, kernel)` -> name of the folder of its run.
    """
    tables = {
        "table": comparison.table.reset_index(),
        "errors": comparison.errors,
        "curves": comparison.curves,
    }
    root = xr.Dataset(
        attrs={
            "settings": json.dumps(plain_settings(comparison.settings)),
            "descriptions": json.dumps(dict(comparison.descriptions)),
            "is_complete": int(comparison.is_complete),
            "verdicts": json.dumps(
                [[*place, asdict(verdict)] for place, verdict in comparison.verdicts.items()]
            ),
            "runs": json.dumps([[*place, name] for place, name in runs.items()]),
            "seeds": json.dumps([[*place, seed] for place, seed in comparison.seeds.items()]),
        }
    )
    groups = {name: _to_dataset(table) for name, table in tables.items() if len(table)}
    new = path / f".new{RESULTS}"
    shutil.rmtree(new, ignore_errors=True)
    xr.DataTree.from_dict({"/": root, **groups}).to_zarr(new, zarr_format=FORMAT)
    shutil.rmtree(path / RESULTS, ignore_errors=True)
    os.replace(new, path / RESULTS)


def load_comparison(path: str | Path) -> Comparison:
    """A comparison that `compare(store=...)` wrote; its draws are read when they are used.

    Parameters
    ----------
    path
        The store.

    Raises
    ------
    FileNotFoundError
        If there is none, or it is not complete: `compare(..., resume=True)` continues it.
    ValueError
        If it is something else.

    Examples
    --------
    >>> load_comparison("no_such.zarr")
    Traceback (most recent call last):
    FileNotFoundError: there is no comparison no_such.zarr; compare(..., store=...) writes one
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no comparison {path}; compare(..., store=...) writes one"
        )
    _record(path)
    if not (path / RESULTS).is_dir():
        raise FileNotFoundError(
            f"the comparison in {path} is not complete; compare(..., store=..., resume=True) with "
            "the same arguments continues it"
        )
    with xr.open_datatree(path / RESULTS, engine="zarr") as opened:
        tree = opened.load()
    tables = {name: _to_table(node.to_dataset()) for name, node in tree.children.items()}
    nothing = pd.DataFrame(columns=["target", "kernel", "seed"])
    runs = {
        (target, kernel): thinned(xr.open_datatree(path / RUNS / name, engine="zarr"))
        for target, kernel, name in json.loads(tree.attrs["runs"])
    }
    return Comparison(
        table=with_types(tables["table"].set_index(["target", "kernel"])),
        errors=tables.get("errors", nothing),
        curves=tables.get("curves", nothing),
        runs=runs,
        verdicts={
            (target, kernel): Verdict(**fields)
            for target, kernel, fields in json.loads(tree.attrs["verdicts"])
        },
        descriptions=json.loads(tree.attrs["descriptions"]),
        settings=_settings(json.loads(tree.attrs["settings"])),
        is_complete=bool(tree.attrs["is_complete"]),
        seeds={(target, kernel): seed for target, kernel, seed in json.loads(tree.attrs["seeds"])},
    )
