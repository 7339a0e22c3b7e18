"""`numpyro-score fit`, from a file of draws to a file with a score."""

from pathlib import Path
from typing import Any

import arviz as az
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from numpyro_score.cli import main
from numpyro_score.samplers import reverse_sde
from numpyro_score.training.io import about_model, load

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def draws(tmp_path_factory: Any) -> Path:
    """A Gaussian of sd 2 in three coordinates, and a count."""
    path = tmp_path_factory.mktemp("draws") / "draws.nc"
    posterior = {
        "mu": 2 * RNG.normal(size=(2, 500)),
        "theta": 2 * RNG.normal(size=(2, 500, 2)),
        "count": RNG.integers(0, 5, (2, 500)),
    }
    az.from_dict({"posterior": posterior}).to_netcdf(path)
    return path


def command(draws: Path, out: Path, *options: str) -> int:
    settings = ["--steps", "200", "--batch-size", "64", "--width", "16", "--no-progress"]
    return main(["fit", str(draws), "--out", str(out), *settings, *options])


def test_draws_to_score(draws: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "score.eqx"
    assert command(draws, out, "--checkpoint", str(tmp_path / "training")) == 0
    assert "mu, theta (2,)" in capsys.readouterr().out
    assert about_model(out)["variables"] == ["mu", "theta (2,)"]
    model = load(out)
    x = jnp.array([2.0, -1.0, 0.5])
    t = model.noise.time_of(1.0)
    np.testing.assert_allclose(model(x, t), -x / (4 + 1), atol=0.15)


def test_any_scale_and_location(tmp_path: Path) -> None:
    """Wide and narrow, far from zero, and strongly correlated parameters come back as they were."""
    num = 4000
    mu = RNG.normal(0.0, 100.0, num)
    true = {
        "mu": mu,
        "near": mu / 100 + RNG.normal(0.0, 0.01, num),
        "tau": RNG.normal(1.0, 0.01, num),
        "t0": RNG.normal(2458000.123, 5e-4, num),
        "fixed": np.full(num, 3.7),
    }
    draws, score, out = (tmp_path / name for name in ("draws.nc", "score.eqx", "out.nc"))
    posterior = {name: x.reshape(4, -1) for name, x in true.items()}
    az.from_dict({"posterior": posterior}).to_netcdf(draws, engine="h5netcdf")
    assert main(["fit", str(draws), "--out", str(score), "--steps", "300", "--no-progress"]) == 0
    options = ["--num", "2000", "--out", str(out), "--no-progress"]
    assert main(["generate", str(score), *options]) == 0
    with xr.open_datatree(out, engine="h5netcdf") as tree:
        found = {name: tree.posterior[name].to_numpy().ravel() for name in true}
    assert (found.pop("fixed") == 3.7).all()
    found["away"], true["away"] = (x["near"] - x["mu"] / 100 for x in (found, true))
    for name, x in found.items():
        mean, sd = true[name].mean(), true[name].std()
        # a short training: some percent, where it was thousands
        assert abs(x.mean() - mean) < 0.15 * sd, name
        assert abs(x.std() / sd - 1) < 0.12, name
    model = load(score)
    with pytest.raises(ValueError, match="float32 numbers are"):
        model(jnp.zeros(5), 0.5)
    with pytest.raises(ValueError, match=r"sample score\.standard"):
        reverse_sde(model, model.noise, (5,))


def test_one_variable(draws: Path, tmp_path: Path) -> None:
    out = tmp_path / "score.eqx"
    assert command(draws, out, "--variable", "mu") == 0
    assert load(out)(jnp.ones(1), 0.5).shape == (1,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variable", "nu"], "has no variable nu; it has mu, theta, count"),
        (["--variable", "count"], "count hold no real numbers"),
        (["--batch-size", "1000"], "only 900 points"),
        (["--out", "/no/such/folder/score.eqx"], "does not exist"),
    ],
)
def test_bad_input(
    draws: Path, tmp_path: Path, options: list[str], message: str, capsys: Any
) -> None:
    assert command(draws, tmp_path / "score.eqx", *options) == 2
    assert message in capsys.readouterr().err


def test_outliers_are_named(tmp_path: Path, capsys: Any) -> None:
    mu = np.where(np.arange(1000) == 17, 1e8, RNG.normal(size=1000)).reshape(2, 500)
    az.from_dict({"posterior": {"mu": mu}}).to_netcdf(tmp_path / "draws.nc", engine="h5netcdf")
    assert command(tmp_path / "draws.nc", tmp_path / "score.eqx") == 2
    assert "point 17 is 1e+08" in capsys.readouterr().err


def test_no_draws(tmp_path: Path, capsys: Any) -> None:
    assert command(tmp_path / "nothing.nc", tmp_path / "score.eqx") == 2
    assert "there is no file" in capsys.readouterr().err
