"""The Python blocks of the README and of the pages run, in order, in one namespace a page.

A block that cannot run is preceded by a comment that says why: `<!-- skip: next "reason" -->`.
"""

import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from unittest import SkipTest

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt
from sybil import Document
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Pages whose blocks take longest; the quick start and what else is short always run.
SLOW = {
    "README",
    "beyond_local_kernels",
    "calibration",
    "compare_samplers",
    "diagnostics",
    "extending",
    "global_moves",
    "long_runs",
    "samplers",
    "scores",
    "swap_the_kernel",
}
PARSERS = (PythonCodeBlockParser(), SkipParser())


def run(page: Path) -> int:
    """Run all blocks of a page; how many there were."""
    document = Document.parse(str(page), *PARSERS)
    # dataclasses and pickle look a class's module up by its name
    module = ModuleType("__main__page__")
    document.namespace = vars(module)
    sys.modules[module.__name__] = module
    num_blocks = 0
    try:
        for example in document.examples():
            with suppress(SkipTest):  # a block whose reason not to run is given
                example.evaluate()
            num_blocks += 1
    finally:
        del sys.modules[module.__name__]
    return num_blocks


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow if page.stem in SLOW else ())
        for page in PAGES
        if "```python" in page.read_text()
    ],
    ids=lambda page: page.stem,
)
@pytest.mark.usefixtures("unchecked")
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    backend = mpl.get_backend()
    mpl.use("Agg")
    try:
        assert run(page) >= page.read_text().count("```python")
    finally:
        plt.close("all")
        mpl.use(backend)


def test_a_wrong_block_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\n\ntext\n\n```python\nassert x == 2\n```\n")
    with pytest.raises(AssertionError):
        run(page)
    page.write_text('<!-- skip: next "why" -->\n\n```python\n1 / 0\n```\n')
    run(page)
