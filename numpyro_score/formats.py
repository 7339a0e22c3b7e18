"""Suffixes of files of draws."""

NETCDF, ZARR = ".nc", ".zarr"
SUFFIXES = (NETCDF, ZARR)
