"""The version is the same wherever it is written."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_citation_and_the_changelog_have_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert cited is not None
    assert cited[1] == version
    newest = re.search(r"^## (\S+)", (ROOT / "docs/changelog.md").read_text("utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version
