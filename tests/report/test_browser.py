"""The pages in a browser: Chromium without a window, where one is installed."""

import html
import re
import shutil
import subprocess

import matplotlib.image
import numpy as np
import pytest

from numpyro_score.report import write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for path in map(shutil.which, BROWSERS) if path), None)
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)

pytestmark = pytest.mark.skipif(
    BROWSER is None,
    reason="no browser to open the report in; install one (Debian: apt-get install chromium)",
)


@pytest.fixture(scope="module")
def pages(comparison_page, run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    draws = {"<img src=x onerror=alert(1)>": np.random.default_rng(0).normal(size=(4, 200))}
    return {
        "comparison": comparison_page,
        "run": write_report(run(draws), folder / "run.html", title="draws", progress=False),
    }


def browse(path, tmp_path, *options):
    """Open a page; what the browser prints, and what it complains of."""
    assert BROWSER is not None
    command = [BROWSER, *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}", *options]
    done = subprocess.run(
        [*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def shoot(path, tmp_path, width, height, *options):
    picture = tmp_path / "shot.png"
    _, complaints = browse(
        path, tmp_path, f"--screenshot={picture}", f"--window-size={width},{height}", *options
    )
    return matplotlib.image.imread(picture)[..., :3], complaints


def measure(page, tmp_path, width):
    """What a page measures in a window of some width, told by a page around it."""
    script = """
      addEventListener("load", () => {
        const inner = document.querySelector("iframe").contentDocument, root = inner.documentElement
        const images = [...inner.images]
        document.body.dataset.found = [
          root.scrollWidth, images.length, images.filter(i => i.naturalWidth > 50).length,
          inner.querySelectorAll("script, img[src=x]").length
        ].join()
      })
    """
    source = html.escape(page.read_text(encoding="utf-8"))
    outer = tmp_path / "outer.html"
    outer.write_text(
        f'<!doctype html><body><iframe style="width:{width}px;height:900px;border:0" '
        f'srcdoc="{source}"></iframe><script>{script}</script>',
        encoding="utf-8",
    )
    dom, complaints = browse(outer, tmp_path, "--dump-dom", "--virtual-time-budget=5000")
    found = re.search(r'data-found="([\d,]+)"', dom)
    assert found, "the page did not load"
    return [int(number) for number in found[1].split(",")], complaints


@pytest.mark.parametrize(("name", "num_images"), [("comparison", 12), ("run", 4)])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_window_and_every_picture_is_shown(pages, tmp_path, name, num_images, width):
    (scroll_width, images, shown, planted), complaints = measure(pages[name], tmp_path, width)
    assert complaints == []
    assert scroll_width <= width
    assert images == shown == num_images
    assert planted == 0


def test_light_and_dark_follow_the_reader(pages, tmp_path):
    light, complaints = shoot(pages["run"], tmp_path, 1000, 1400)
    dark, _ = shoot(pages["run"], tmp_path, 1000, 1400, "--blink-settings=preferredColorScheme=0")
    assert complaints == []
    assert light.mean() > 0.85
    assert dark.mean() < 0.25
    # ink and pictures are there in both
    assert light.min() < 0.3
    assert dark.max() > 0.7


def test_it_prints(pages, tmp_path):
    pdf = tmp_path / "page.pdf"
    browse(pages["run"], tmp_path, f"--print-to-pdf={pdf}")
    assert pdf.read_bytes()[:5] == b"%PDF-"
