"""Endings of files of draws; what reads and writes them stands in the rooms above."""

NETCDF, ZARR = ".nc", ".zarr"
SUFFIXES = (NETCDF, ZARR)
