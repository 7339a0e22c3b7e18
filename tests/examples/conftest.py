"""Examples as tests run them: in their short form, in a folder of their own, without a screen."""

import io
import runpy
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

EXAMPLES = Path(__file__).parents[2] / "examples"


class Example(NamedTuple):
    """What an example left behind.

    Attributes
    ----------
    names
        Its top-level variables.
    text
        What it printed.
    """

    names: dict[str, Any]
    text: str


RunExample = Callable[[str], Example]
"""Name of a script, without its suffix -> what it left behind."""


@pytest.fixture(scope="session")
def run_example(tmp_path_factory: pytest.TempPathFactory) -> RunExample:
    """Run an example in its short form; to be called once a file, in a fixture of its module."""

    def run(name: str) -> Example:
        folder, script = tmp_path_factory.mktemp(name), EXAMPLES / f"{name}.py"
        backend, printed = mpl.get_backend(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [str(script), "--short"])
            patch.chdir(folder)
            mpl.use("Agg")
            try:
                with redirect_stdout(printed):
                    names = runpy.run_path(str(script))
            finally:
                plt.close("all")
                mpl.use(backend)
        text, picture = printed.getvalue(), f"{name}.png"
        assert f"picture: {picture}" in text
        assert (folder / picture).stat().st_size > 0
        return Example(names, text)

    return run
