"""The wheel, in an environment of its own with its dependencies alone."""

import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_wheel_runs_the_first_block_of_the_readme(tmp_path: Path) -> None:
    built = run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    if "Failed to establish a new connection" in built.stdout + built.stderr:
        pytest.skip("building a wheel needs a package index, and none is reached")
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")

    home = tmp_path / "env"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    installed = run(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    packages = run(python, "-m", "pip", "list", "--format", "freeze", cwd=tmp_path).stdout
    names = {line.split("==")[0].lower().replace("_", "-") for line in packages.splitlines()}
    assert "numpyro-score" in names
    assert not names & {"beartype", "diffrax", "funsor", "orbax-checkpoint", "pytest", "sphinx"}

    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert block is not None
    (tmp_path / "first.py").write_text(block[1])
    first = run(python, "-I", tmp_path / "first.py", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "slope" in first.stdout

    listed = run(home / "bin" / "numpyro-score", "list", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert "mala_dense" in listed.stdout
    assert "cannot be used" not in listed.stdout
