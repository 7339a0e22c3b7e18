import numpy as np
import pytest
import xarray as xr

from numpyro_score.diagnostics.files import read_draws, write_draws


@pytest.fixture
def draws(tree):
    dt = tree(x=np.random.default_rng(0).normal(size=(2, 20, 3)))
    dt["posterior"] = dt["posterior"].to_dataset().assign_coords(x_dim_0=["a", "b", "<script>"])
    dt["sample_stats"] = xr.Dataset({"diverging": (("chain", "draw"), np.eye(2, 20) > 0)})
    dt.attrs.update(exact=1, sampler="MALA", seconds_compile=0.5)
    return dt


@pytest.mark.parametrize("name", ["draws.nc", "draws.zarr"])
def test_what_is_written_is_read_again(draws, tmp_path, name):
    path = write_draws(draws, tmp_path / name)
    again = read_draws(path)
    np.testing.assert_array_equal(again.posterior.x, draws.posterior.x)
    assert again.posterior.x_dim_0.values.tolist() == ["a", "b", "<script>"]
    assert again.sample_stats.diverging.dtype == bool
    assert again.attrs["exact"] == 1
    # a second time replaces it, and nothing else is left behind
    write_draws(draws, path)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_what_was_there_stays_when_writing_fails(draws, tmp_path, monkeypatch):
    path = write_draws(draws, tmp_path / "draws.nc")
    before = path.read_bytes()

    def fail(self, *args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", fail)
    with pytest.raises(OSError, match="disk full"):
        write_draws(draws, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["draws.nc"]


def test_other_endings_are_refused(draws, tmp_path):
    with pytest.raises(ValueError, match=r"\.nc or \.zarr, got 'draws\.csv'"):
        write_draws(draws, tmp_path / "draws.csv")


def test_what_is_not_arviz_s_is_told(draws, tmp_path):
    (tmp_path / "notes.nc").write_text("not draws")
    with pytest.raises(ValueError, match="cannot be read as a netCDF file"):
        read_draws(tmp_path / "notes.nc")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="cannot be read as a Zarr store"):
        read_draws(tmp_path / "folder")
    prior = xr.DataTree.from_dict({"prior": draws["posterior"].to_dataset()})
    with pytest.raises(ValueError, match=r"no group 'posterior' \(its groups: prior\)"):
        read_draws(write_draws(prior, tmp_path / "prior.nc"))
