"""What importing a kernel loads: no more than the kernel needs, and no backend is started."""

import subprocess
import sys
from types import ModuleType

import blackjax
import pytest

import numpyro_score
from numpyro_score import kernels

DEAR = (
    "arviz",
    "arviz_base",
    "arviz_plots",
    "arviz_stats",
    "blackjax",
    "diffrax",
    "jinja2",
    "matplotlib",
    "optax",
    "orbax",
    "pandas",
    "scipy.optimize",
    "scipy.stats",
    "sklearn",
    "xarray",
    "zarr",
)
"""Each takes a good part of a second to import."""


def output_of(code: str) -> str:
    """What a fresh Python prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("code", "also"),
    [
        ("import numpyro_score", ("equinox", "jax", "numpyro", "numpy")),
        ("from numpyro_score.infer import MALA; MALA(lambda: None)", ()),
        ("from numpyro_score import ULA, RandomWalkMetropolis", ()),
    ],
)
def test_a_kernel_imports_nothing_dear(code: str, also: tuple[str, ...]) -> None:
    names = {*DEAR, *also}
    loaded = output_of(f"{code}\nimport sys\nprint(*({names!r} & set(sys.modules)))")
    assert loaded == ""


def test_a_run_imports_no_plots_and_no_store() -> None:
    names = {"arviz", "arviz_plots", "blackjax", "matplotlib", "optax", "sklearn", "zarr"}
    code = "from numpyro_score.run import sample\nimport numpyro_score.diagnostics.quick_check, sys"
    assert output_of(f"{code}\nprint(*({names!r} & set(sys.modules)))") == ""


@pytest.mark.parametrize(
    "code",
    [
        "from numpyro_score import MALA, ULA, RandomWalkMetropolis, sample",
        "import numpyro_score.adaptation.pooled, numpyro_score.localization, numpyro_score.scores",
        "from numpyro_score.infer import *",
        "import numpyro_score.kernels, numpyro_score.samplers, numpyro_score.training",
    ],
)
def test_importing_starts_no_backend(code: str) -> None:
    """NumPyro's examples choose the number of devices after their imports."""
    count = "import jax, numpyro; numpyro.set_host_device_count(4); print(jax.device_count())"
    assert output_of(f"{code}\n{count}") == "4"


def test_names_are_those_of_the_rooms() -> None:
    assert set(numpyro_score.__all__) <= set(dir(numpyro_score))
    for name in numpyro_score.__all__:
        thing = getattr(numpyro_score, name)
        assert isinstance(thing, ModuleType) or thing is getattr(numpyro_score, name)
    assert numpyro_score.mala is kernels.mala
    unknown = "malla"
    with pytest.raises(AttributeError, match=unknown):
        getattr(numpyro_score, unknown)


def test_kernels_are_of_blackjaxs_own_type() -> None:
    names = set(kernels.__all__) - {"Ladder", "whitened"}
    assert names <= set(dir(kernels))
    assert {type(getattr(kernels, name)) for name in names} == {blackjax.GenerateSamplingAPI}
    unknown = "malla"
    with pytest.raises(AttributeError, match=unknown):
        getattr(kernels, unknown)
