"""The end of a run, tried on one draw before the first step, so that no draw is lost at the end.

Names, types and attributes that the result or the file cannot hold, a log likelihood that cannot be
computed, a folder that cannot be written: all show here.
"""

import tempfile
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from numpyro_score.run.layout import Layout
from numpyro_score.run.names import check_names, stored_name
from numpyro_score.run.program import Program, row_shapes
from numpyro_score.run.summed_out import warn_of_summed_out
from numpyro_score.run.tree import SAMPLING, Chunk, Converter, plain_attrs
from numpyro_score.run.zarr_group import COMMIT, DrawsGroup


def rehearse(
    program: Program,
    state: Any,
    converter: Converter,
    attrs: Mapping[str, Any],
    path: Path | None,
) -> None:
    """Convert one made-up draw, and write it where the run is to be written.

    Parameters
    ----------
    program, state
        What runs, from where.
    converter
        Makes the result.
    attrs
        Attributes of the root, as far as they are known.
    path
        The store, or None.

    Raises
    ------
    ValueError
        If the result cannot hold the draws, or the log likelihood cannot be computed.
    OSError
        If the folder of a netCDF file cannot be written.

    Warns
    -----
    UserWarning
        If sites are no draws, since they depend on a discrete site that is summed out.
    """
    chunk = _one_draw(program, state)
    if not jax.tree.leaves(chunk.samples):
        raise ValueError(
            "the model has neither latent nor deterministic sites, so there is nothing to keep; "
            "numpyro.infer.Predictive runs such a model."
        )
    if isinstance(chunk.samples, Mapping):
        check_names(map(str, chunk.samples), converter.dims)
    model = getattr(program.kernel, "model", None)
    if model is not None and isinstance(chunk.samples, Mapping):
        shapes = {name: np.shape(x)[2:] for name, x in chunk.samples.items()}
        warn_of_summed_out(model, program.constants.args, program.constants.kwargs, shapes)
    converter.check_log_likelihood(chunk)
    try:
        with warnings.catch_warnings():
            # the values are none that a model draws
            warnings.simplefilter("ignore")
            groups = {**converter.groups(chunk), **converter.observed(chunk)}
    except Exception as error:
        raise ValueError(
            f"the draws cannot be made an ArviZ tree ({type(error).__name__}: {error}); give the "
            "sites other names, or positions that are an array or a dict of arrays"
        ) from error
    _check_complete(chunk, groups["posterior"])
    if path is None or (path / COMMIT).exists():
        # what an earlier run has written can be written
        return
    try:
        if path.suffix == ".nc":
            _write_netcdf(groups, attrs, path)
        else:
            _write_zarr(groups, attrs, program.layout)
    except PermissionError:
        raise
    except Exception as error:
        raise ValueError(
            f"the draws cannot be written to {path} ({type(error).__name__}: {error}); give the "
            "sites other names or types, or keep the run in memory (no store=)"
        ) from error


def _one_draw(program: Program, state: Any) -> Chunk:
    fields, constrained = row_shapes(program, state, 1)
    num_chains = len(program.layout.chains)

    def full(value: int, x: Any) -> np.ndarray:
        return np.full((num_chains, 1, *x.shape[2:]), value, x.dtype)

    stats = dict(fields)
    draws = stats.pop(program.kernel.sample_field)
    samples = draws if constrained is None else constrained
    # ones, for ArviZ takes the logarithm of the number of steps
    return Chunk(
        SAMPLING,
        0,
        jax.tree.map(partial(full, 0), samples),
        jax.tree.map(partial(full, 1), stats),
    )


def _check_complete(chunk: Chunk, posterior: xr.Dataset) -> None:
    """Whether every site became a variable."""
    if not isinstance(chunk.samples, Mapping):
        return
    missing = [n for n in chunk.samples if stored_name(str(n)) not in posterior.data_vars]
    if missing:
        raise ValueError(
            f"the result cannot hold the sites {', '.join(map(repr, missing))}; rename them in "
            "the model"
        )


def _write_netcdf(groups: Mapping[str, xr.Dataset], attrs: Mapping[str, Any], path: Path) -> None:
    tree = xr.DataTree.from_dict(dict(groups))
    tree.attrs.update(plain_attrs(attrs))
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as folder:
        tree.to_netcdf(Path(folder) / path.name, engine="h5netcdf")


def _write_zarr(groups: Mapping[str, xr.Dataset], attrs: Mapping[str, Any], layout: Layout) -> None:
    with tempfile.TemporaryDirectory(prefix="numpyro_score-") as folder:
        group = DrawsGroup(Path(folder), layout.chains, layout.num_chains)
        for name, dataset in groups.items():
            group.create(name, dataset, 1)
            if "draw" in dataset.dims:
                group.write(name, dataset, 0)
        group.scan()
        group.commit(plain_attrs(attrs), dict.fromkeys(groups, 1))
