"""The benchmark of accelerators, at a small size on whatever there is."""

import runpy
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "examples" / "benchmarks"


@pytest.mark.slow
def test_every_path_has_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(BENCHMARKS / "gpu.py"))["main"]
    sizes = {"chains": 50, "dim": 3, "steps": 200, "copy-bytes": 10**6, "matrix": 64}
    sizes |= {"batch": 600, "width": 16}
    main([word for name, size in sizes.items() for word in (f"--{name}", str(size))])
    card, rates, _, *rows = capsys.readouterr().out.splitlines()
    assert card.startswith("jax ")
    assert "GB/s" in rates
    names = ["MALA", "random walk", "fit", "fit", "reverse SDE"]
    assert [row.split(",")[0] for row in rows] == names
    for row in rows:
        assert 0 < float(row.split()[-1].removesuffix("%")) <= 100
