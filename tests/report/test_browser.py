"""The pages in a browser: Chromium without a window, driven by Playwright, where both are there."""

import shutil
from itertools import pairwise

import matplotlib.image
import numpy as np
import pytest

from numpyro_score.report import write_report
from numpyro_score.targets import DensityTarget, moments

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="no Playwright to drive a browser; pip install playwright"
)

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for path in map(shutil.which, BROWSERS) if path), None)

pytestmark = pytest.mark.skipif(
    BROWSER is None,
    reason="no browser to open the report in; install one (Debian: apt-get install chromium)",
)

DESKTOP, PHONE = 1280, 390
NASTY = "<img src=x onerror=alert(1)>"
SECTIONS = {
    "run": ["short", "mixing", "burn-in", "modes", "known"],
    "comparison": ["short", "table", "target-0", "meaning"],
}


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def pages(comparison_page, run, tmp_path_factory):
    rng = np.random.default_rng(0)
    side = np.where(np.cumsum(rng.random((4, 300)) < 0.03, axis=1) % 2, 5.0, -5.0)
    draws = {NASTY: side + rng.normal(size=(4, 300)), "x": rng.normal(size=(4, 300, 2))}
    known = moments("x", np.zeros(2), np.ones(2), 3 * np.ones(2))
    target = DensityTarget("toy", "N(0, I)", 2, lambda x: -0.5 * (x**2).sum(), known)
    path = tmp_path_factory.mktemp("pages") / "run.html"
    warmup = {name: 9 + values[:, :100] for name, values in draws.items()}
    dt = run(draws, warmup, num_warmup=100)
    return {
        "comparison": comparison_page,
        "run": write_report(dt, path, title=NASTY, target=target, progress=False),
    }


@pytest.fixture
def browse(browser, pages):
    """Opens a page; what it asks for and what it complains of are kept beside it."""
    contexts = []

    def browse(name, width=DESKTOP, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.asked, page.complaints = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
        page.goto(pages[name].as_uri(), wait_until="load")
        page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
        return page

    yield browse
    for context in contexts:
        context.close()


@pytest.fixture(params=["run", "comparison"])
def name(request):
    return request.param


def test_nothing_is_complained_of_and_nothing_is_fetched(browse, name):
    page = browse(name)
    assert page.complaints == []
    outside = [url for url in page.asked if not url.startswith(("file:", "data:"))]
    assert outside == []
    assert [url for url in page.asked if url.startswith("file:")] == [page.url]


def test_every_section_is_there_and_named(browse, name):
    page = browse(name)
    for anchor in SECTIONS[name]:
        section = page.locator(f"section#{anchor}")
        assert section.count() == 1
        assert section.locator("h2").first.inner_text()
        assert section.bounding_box()["height"] > 50


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_it_fits_the_window_and_every_picture_is_shown(browse, name, width):
    page = browse(name, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sizes = page.evaluate("[...document.images].map(i => [i.naturalWidth, i.clientWidth])")
    assert len(sizes) >= 9
    assert all(natural > 50 and shown > min(width, 600) / 2 for natural, shown in sizes)


def test_the_table_of_a_comparison_fits_and_the_rest_is_folded_away(browse):
    page = browse("comparison")
    table = page.locator("#table .scroll").first
    assert table.evaluate("region => region.scrollWidth <= region.clientWidth")
    assert not page.locator("#table details").evaluate("details => details.open")


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_reader(browse, name, scheme, width, tmp_path):
    page = browse(name, width, color_scheme=scheme)
    path = tmp_path / "shot.png"
    page.screenshot(path=path)
    pixels = matplotlib.image.imread(path)[..., :3]
    # ink and pictures are there in both
    if scheme == "light":
        assert pixels.mean() > 0.85
        assert pixels.min() < 0.3
    else:
        assert pixels.mean() < 0.25
        assert pixels.max() > 0.7


def test_a_picture_is_of_the_scheme_too(browse, tmp_path):
    means = {}
    for scheme in ("light", "dark"):
        page = browse("run", color_scheme=scheme)
        path = tmp_path / f"{scheme}.png"
        page.locator("figure img").first.screenshot(path=path)
        means[scheme] = matplotlib.image.imread(path)[..., :3].mean()
    assert means["light"] > 0.8
    assert means["dark"] < 0.3


def test_a_name_stays_text(browse):
    page = browse("run")
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("h1").inner_text() == NASTY
    assert page.locator("th", has_text=NASTY).count() >= 1
    assert page.locator("script").count() == 0


def test_it_is_read_without_eyes(browse, name):
    """Landmarks, one first heading, none skipped, named tables and pictures."""
    page = browse(name)
    for landmark in ("header", "nav[aria-label]", "main", "footer"):
        assert page.locator(landmark).count() == 1
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert all(page.evaluate("[...document.images].map(i => i.alt.length > 20)"))
    assert page.evaluate(
        "[...document.querySelectorAll('table')].every(t => t.caption || "
        "t.closest('[role=region][aria-label]'))"
    )
    assert page.evaluate("[...document.querySelectorAll('thead th')].every(t => t.scope === 'col')")
    assert page.evaluate("document.documentElement.lang") == "en"


def test_it_is_walked_with_the_keyboard(browse, name):
    page = browse(name)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.getAttribute('href') || ''"))
    assert {f"#{anchor}" for anchor in SECTIONS[name]} <= reached


def test_wide_tables_are_scrolled_with_the_keyboard(browse, name):
    regions = browse(name, PHONE).locator(".scroll")
    assert regions.count() >= 1
    for i in range(regions.count()):
        assert regions.nth(i).get_attribute("tabindex") == "0"


def test_words_can_be_read(browse, name):
    """Contrast of at least 4.5 between text and what is behind it, as WCAG 2.2 asks."""
    script = """() => {
      const luminance = c => {
        const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= .04045
          ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        return .2126 * r + .7152 * g + .0722 * b
      }
      const parse = s => s.match(/[\\d.]+/g).map(Number)
      const behind = e => {
        for (; e; e = e.parentElement) {
          const c = parse(getComputedStyle(e).backgroundColor)
          if (c.length < 4 || c[3] > 0) return c
        }
        return [255, 255, 255]
      }
      const texts = [...document.querySelectorAll('p,li,dt,dd,td,th,a,span,h1,h2,h3,h4,figcaption')]
      return texts.filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
        .map(e => {
          const [a, b] = [parse(getComputedStyle(e).color), behind(e)].map(luminance)
          return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.className, e.tagName]
        }).filter(([ratio]) => ratio < 4.5)
    }"""
    for scheme in ("light", "dark"):
        assert browse(name, color_scheme=scheme).evaluate(script) == []


def test_it_prints(browse, name):
    pdf = browse(name).pdf()
    assert pdf[:5] == b"%PDF-"
    assert len(pdf) > 20_000
