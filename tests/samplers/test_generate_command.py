"""`numpyro-score generate`, from a file with a score to a file of draws."""

from pathlib import Path
from typing import Any

import arviz as az
import jax
import numpy as np
import pytest
import xarray as xr

from numpyro_score.cli import main
from numpyro_score.cli.generating import SAMPLERS
from numpyro_score.noise import VE
from numpyro_score.scores import EnergyNet, ResidualMLP, ScoreNetwork, gaussian_score
from numpyro_score.training.io import save

MEAN = np.array([1.0, -2.0, 3.0])
SD = np.array([0.5, 1.0, 2.0])


@pytest.fixture(scope="module")
def score(tmp_path_factory: Any) -> Path:
    model = gaussian_score(MEAN, SD**2, VE(sigma_min=0.01, sigma_max=20.0))
    path = tmp_path_factory.mktemp("score") / "score.eqx"
    return save(model, path, {"variables": ["mu", "theta (2, 1)"]})


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "consistency"])
def test_score_to_draws(score: Path, sampler: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "draws.nc"
    options = ["--sampler", sampler, "--num", "2000", "--batch-size", "600", "--no-progress"]
    assert main(["generate", str(score), "--out", str(out), *options]) == 0
    assert "2000 draws, approximate" in capsys.readouterr().out
    with xr.open_datatree(out, engine="h5netcdf") as opened:
        tree = opened.load()
    assert tree.posterior["mu"].shape == (1, 2000)
    assert tree.posterior["theta"].shape == (1, 2000, 2, 1)
    draws = np.column_stack([tree.posterior["mu"][0], tree.posterior["theta"][0, :, :, 0]])
    # and some hundredths of bias of annealed Langevin
    assert (abs(draws.mean(axis=0) - MEAN) / SD < 4.5 / np.sqrt(2000) + 0.01).all()
    assert (abs(draws.std(axis=0) / SD - 1) < 4.5 / np.sqrt(4000) + 0.05).all()
    assert tree.attrs["exact"] == 0
    assert tree.attrs["independent_draws"] == 1
    assert tree.attrs["evaluations"] > 30
    assert az.summary(tree, kind="stats").shape[0] == 3


def test_a_score_without_names(tmp_path: Path) -> None:
    model = ScoreNetwork(ResidualMLP((2,), rng_key=jax.random.key(0)), VE(0.1, 10.0))
    path = save(model, tmp_path / "score.eqx")
    out = tmp_path / "draws.zarr"
    options = ["--num", "10", "--steps", "3", "--denoise", "--no-progress"]
    assert main(["generate", str(path), "--out", str(out), *options]) == 0
    with xr.open_datatree(out, engine="zarr") as tree:
        assert tree.posterior["x"].shape == (1, 10, 2)
        assert tree.attrs["num_steps"] == 4


@pytest.mark.slow
def test_draws_to_score_to_consistency_model_to_draws(tmp_path: Path) -> None:
    """In units of the draws, whatever they are; hardly trained, it has their mean and sd."""
    x = 1000.0 + 0.5 * np.random.default_rng(0).normal(size=(1, 400, 2))
    xr.DataTree.from_dict(
        {"posterior": xr.Dataset({"x": (("chain", "draw", "x_dim_0"), x)})}
    ).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    files = {name: str(tmp_path / name) for name in ("x.nc", "score.eqx", "fast.eqx", "new.nc")}
    steps = ["--steps", "20", "--no-progress"]
    assert main(["fit", files["x.nc"], "--out", files["score.eqx"], *steps]) == 0
    teacher = ["--teacher", files["score.eqx"], "--out", files["fast.eqx"]]
    assert main(["fit", files["x.nc"], *teacher, *steps]) == 0
    sampler = ["--sampler", "consistency", "--out", files["new.nc"], "--no-progress"]
    assert main(["generate", files["fast.eqx"], *sampler]) == 0
    with xr.open_datatree(files["new.nc"], engine="h5netcdf") as tree:
        draws = tree.posterior["x"].values[0]
        assert tree.attrs["evaluations"] == 1
        assert tree.attrs["exact"] == 0
    assert draws.shape == (1000, 2)
    assert (abs(draws.mean(axis=0) - 1000) < 0.5).all()


@pytest.mark.slow
def test_fields_to_latent_score_to_fields(tmp_path: Path, capsys: Any) -> None:
    codes, axes = np.random.default_rng(0).normal(size=(400, 2)), np.ones((2, 3, 4))
    axes[1, 0] = -2.0
    fields = (np.tensordot(codes, axes, 1) + 7.0)[None]
    dims = ("chain", "draw", "x_dim_0", "x_dim_1")
    xr.DataTree.from_dict({"posterior": xr.Dataset({"x": (dims, fields)})}).to_netcdf(
        tmp_path / "x.nc", engine="h5netcdf"
    )
    files = {name: str(tmp_path / name) for name in ("x.nc", "latent.eqx", "new.nc")}
    options = ["--steps", "200", "--no-progress"]
    latent = ["--latent", "2", "--out", files["latent.eqx"]]
    assert main(["fit", files["x.nc"], *latent, *options]) == 0
    assert "Reconstruction error" in capsys.readouterr().out
    assert main(["generate", files["latent.eqx"], "--out", files["new.nc"], "--no-progress"]) == 0
    with xr.open_datatree(files["new.nc"], engine="h5netcdf") as tree:
        draws = tree.posterior["x"].values[0]
    assert draws.shape == (1000, 3, 4)
    assert abs(draws.mean() - 7.0) < 0.5
    both = ["--latent", "2", "--teacher", files["latent.eqx"]]
    assert main(["fit", files["x.nc"], *both]) == 2
    assert main(["fit", files["x.nc"], "--latent", "13", "--no-progress"]) == 2
    assert "have 12 coordinates" in capsys.readouterr().err


def test_bad_input(score: Path, tmp_path: Path, capsys: Any) -> None:
    def fails(path: Path, *options: str) -> str:
        assert main(["generate", str(path), "--no-progress", *options]) == 2
        return capsys.readouterr().err

    out = str(tmp_path / "draws.nc")
    assert "must end in .nc" in fails(score, "--out", "draws.txt")
    assert "there is no file" in fails(tmp_path / "nothing.eqx", "--out", out)
    energy = save(EnergyNet(2, width=8, rng_key=jax.random.key(0)), tmp_path / "energy.eqx")
    assert "holds a EnergyNet" in fails(energy, "--out", out)
    shapeless = save(
        ScoreNetwork(jax.nn.silu, VE(0.1, 10.0)),  # type: ignore[arg-type]
        tmp_path / "function.eqx",
    )
    assert "says what shape" in fails(shapeless, "--out", out)
    assert "consistency model: numpyro-score fit" in fails(
        score, "--sampler", "consistency", "--out", out
    )
    with pytest.raises(SystemExit):
        main(["generate", str(score), "--sampler", "gibbs"])
