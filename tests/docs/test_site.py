"""The site: it builds without a warning, and in a browser its pages and figures are there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest

pytest.importorskip("sphinx", reason="no Sphinx to build the site; pip install numpyro-score[docs]")

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for path in map(shutil.which, BROWSERS) if path), None)


def build(folder: Path, *options: str) -> Path:
    """The site, built from copies in a folder of its own, examples in short."""
    made = shutil.ignore_patterns("_build", "api", "gallery", "__pycache__", "benchmarks")
    for name in ("docs", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=made)
    environment = os.environ | {"DOCS_SHORT": "1"}
    if jax.config.jax_compilation_cache_dir is not None:
        environment["JAX_COMPILATION_CACHE_DIR"] = jax.config.jax_compilation_cache_dir
    command = [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-q", *options]
    out = folder / "html"
    done = subprocess.run(
        [*command, "docs", str(out)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return out


@pytest.fixture(scope="module")
def without_figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("site"), "-D", "plot_gallery=0")


def test_it_builds_without_a_warning(without_figures: Path) -> None:
    pages = {
        path.relative_to(without_figures).as_posix() for path in without_figures.rglob("*.html")
    }
    sources = {path.with_suffix(".html").name for path in (ROOT / "docs").glob("*.md")}
    assert sources <= pages
    assert "gallery/index.html" in pages
    assert {f"gallery/{path.stem}.html" for path in examples()} <= pages


def test_every_room_has_a_page_with_its_names(without_figures: Path) -> None:
    rooms = list((without_figures / "api").glob("*.html"))
    assert len(rooms) >= 14
    text = (without_figures / "api" / "numpyro_score.infer.html").read_text()
    for name in ("MALA", "GlobalLocal", "BlackJAXKernel"):
        assert f'id="numpyro_score.infer.{name}"' in text


def examples() -> list[Path]:
    """Scripts that become pages: their docstring begins with a title."""
    scripts = sorted((ROOT / "examples").glob("*.py"))
    return [script for script in scripts if "\n===" in script.read_text()]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser; Debian: apt-get install chromium")
def test_every_page_and_figure_is_shown(tmp_path_factory: pytest.TempPathFactory) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    site = build(tmp_path_factory.mktemp("whole"))
    wrong: list[str] = []
    num_figures: dict[str, int] = {}

    def refuse(route: Any) -> None:
        wrong.append(f"asked for {route.request.url}")
        route.abort()

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = browser.new_page()
        page.on("requestfailed", lambda request: wrong.append(f"not loaded: {request.url}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        # no page asks for anything from elsewhere
        page.route("http*://**", refuse)
        for path in sorted(site.rglob("*.html")):
            page.goto(path.as_uri(), wait_until="load")
            place = path.relative_to(site).as_posix()
            if place != "search.html" and page.locator("h1").count() == 0:
                wrong.append(f"{place} has no heading")
            images = page.evaluate(
                "Promise.all([...document.images].map(async i => {"
                "i.loading = 'eager'; try { await i.decode() } catch {}"
                "return [i.src, i.naturalWidth]}))"
            )
            wrong += [f"{place}: {source}" for source, width in images if width == 0]
            num_figures[place] = len(images)
        browser.close()
    assert wrong == []
    for script in examples():
        assert num_figures[f"gallery/{script.stem}.html"] >= 1, script.stem
    assert num_figures["gallery/index.html"] >= len(examples())
