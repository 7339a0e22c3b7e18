"""Draws on disk: any file that ArviZ writes, netCDF or Zarr.

A file is written under another name and moved when it is complete, so that an interrupt or a full
disk leaves an existing file as it was.
"""

import os
import shutil
import tempfile
from pathlib import Path

import xarray as xr

from numpyro_score.formats import NETCDF, SUFFIXES


def read_draws(path: str | Path) -> xr.DataTree:
    """Draws from a file, whichever program wrote them through ArviZ.

    Parameters
    ----------
    path
        A netCDF file, or a Zarr store (a folder whose name ends in .zarr).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is neither netCDF nor Zarr, or has no group `posterior`.

    Examples
    --------
    >>> read_draws("no_such_file.nc")
    Traceback (most recent call last):
    FileNotFoundError: there is no file no_such_file.nc; give one that ArviZ wrote (.nc or .zarr)
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no file {path}; give one that ArviZ wrote ({' or '.join(SUFFIXES)})"
        )
    engine = "zarr" if path.is_dir() else "h5netcdf"
    try:
        # loaded whole, and closed
        with xr.open_datatree(path, engine=engine) as opened:
            dt = opened.load()
    except (OSError, ValueError, KeyError) as error:
        kind = "a Zarr store" if engine == "zarr" else "a netCDF file"
        raise ValueError(
            f"{path} cannot be read as {kind} ({type(error).__name__}: {error}); give a file that "
            "ArviZ wrote, for example by dt.to_netcdf(...)"
        ) from error
    if "posterior" not in dt.children:
        groups = ", ".join(dt.children) or "none"
        raise ValueError(
            f"{path} has no group 'posterior' (its groups: {groups}); give draws as ArviZ writes "
            "them"
        )
    return dt


def write_draws(dt: xr.DataTree, path: str | Path) -> Path:
    """Write draws, in the format that the name's ending says.

    Parameters
    ----------
    dt
        Draws.
    path
        Where to, ending in .nc or .zarr; what is there is replaced.

    Returns
    -------
    The path, absolute.

    Raises
    ------
    ValueError
        If the ending is neither.
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import arviz as az, numpy as np, tempfile
    >>> dt = az.from_dict({"posterior": {"x": np.zeros((4, 100))}})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     read_draws(write_draws(dt, f"{folder}/x.nc")).posterior.sizes["draw"]
    100
    """
    path = Path(path).absolute()
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"draws are written as {' or '.join(SUFFIXES)}, got {path.name!r}; choose a name with "
            "one of these endings"
        )
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        new = Path(folder) / path.name
        if path.suffix == NETCDF:
            dt.to_netcdf(new, engine="h5netcdf")
        else:
            # format 3 has no stable way yet to store text, such as the names of coordinates
            dt.to_zarr(new, zarr_format=2)
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(new, path)
    return path
