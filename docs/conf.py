"""How Sphinx builds the site: `make docs`."""

import inspect
import os
import shutil
import warnings
from importlib.metadata import version as version_of
from pathlib import Path

from blackjax import GenerateSamplingAPI

HERE = Path(__file__).parent
BUILD = HERE / "_build"
EXAMPLES = BUILD / "examples"
GALLERY = HERE / "gallery"
SHORT = os.environ.get("DOCS_SHORT", "") not in ("", "0")

project = "numpyro_score"
author = copyright = "the authors of numpyro_score"
version = release = version_of("numpyro-score")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = [
    "_build",
    "_templates",
    "gallery_header.rst",
    "gallery/*.ipynb",
    "gallery/*.md5",
]
templates_path = ["_templates"]
html_theme = "furo"
html_title = "numpyro_score"
html_static_path: list[str] = []
# A page of the gallery is not found by its source: the picture and the figures are what counts.
html_show_sourcelink = False

# The pages are plain Markdown, read on GitHub too: links to headings work there and here.
myst_heading_anchors = 4

# A name in single backquotes is code in our docstrings.
default_role = "literal"
add_module_names = False
autosummary_generate = True
# Rooms say in __all__ what is public; their files are not.
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_use_rtype = False
# The annotations stand in the signatures.
napoleon_attr_annotations = False

# Types in signatures without a page: those of other packages (to link to theirs a build would need
# the network), and what is inside of our rooms and not public.
nitpick_ignore_regex = [
    ("py:.*", r"(?!numpyro_score\b).*"),
    ("py:class", r"numpyro_score(\.\w+){3,}"),
]
# A function in sphinx_gallery_conf cannot be compared with that of the build before.
suppress_warnings = ["config.cache"]


def copied_examples() -> None:
    """Scripts write their pictures where they lie: run copies, and those of one form only."""
    form = "short" if SHORT else "long"
    mark = BUILD / "form"
    if mark.exists() and mark.read_text() != form:
        shutil.rmtree(GALLERY, ignore_errors=True)
    EXAMPLES.mkdir(parents=True, exist_ok=True)
    mark.write_text(form)
    for old in EXAMPLES.iterdir():
        old.unlink()
    shutil.copy(HERE / "gallery_header.rst", EXAMPLES / "GALLERY_HEADER.rst")
    for script in (HERE.parent / "examples").glob("*.py"):
        # the rest are tools: a page begins with a title
        if "\n===" in script.read_text():
            shutil.copy(script, EXAMPLES)


copied_examples()
# The second build compiles nothing again.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(BUILD / "jax"))

ORDER = (
    "eight_schools",
    "compare_samplers",
    "label_switching",
    "learned_prior",
    "yesterdays_posterior",
    "epidemics",
    "amortised_posterior",
    "metropolis_hastings",
    "langevin",
    "annealing",
    "euler_maruyama",
    "diagnostics_gallery",
    "denoising_drift",
    "target_score",
    "score_matching",
    "contrastive_divergence",
    "obstacles",
    "diffusion",
    "digits",
    "localization",
    "mode_barrier",
)


class Taught:
    """The order in which examples are shown: for modelers, then as they build on each other."""

    def __init__(self, src_dir: str) -> None:
        del src_dir

    def __call__(self, filename: str) -> tuple[int, str]:
        stem = Path(filename).stem
        return ORDER.index(stem) if stem in ORDER else len(ORDER), stem


sphinx_gallery_conf = {
    "examples_dirs": str(EXAMPLES.relative_to(HERE)),
    "gallery_dirs": GALLERY.name,
    "filename_pattern": r"\.py$",
    "within_subsection_order": Taught,
    "reset_argv": lambda gallery_conf, script_vars: ["--short"] if SHORT else [],
    "download_all_examples": False,
    "min_reported_time": 1,
    "show_memory": False,
    "write_computation_times": False,
    "remove_config_comments": True,
}
warnings.filterwarnings("ignore", message=".*FigureCanvasAgg is non-interactive.*")


def document_kernels(app, what, name, obj, options, lines) -> None:
    """A BlackJAX kernel is an instance; what it does is said by the function that it wraps."""
    if isinstance(obj, GenerateSamplingAPI):
        # of data, what is before a colon in the first line would be taken for the type
        first, *rest = inspect.cleandoc(obj.differentiable.__doc__).splitlines()
        lines[:] = [first.replace(": ", ", "), *rest]


def skip_fields(app, what, name, obj, skip, options) -> bool | None:
    """Fields of a NamedTuple are described where their class is; a default may be another's."""
    is_field = (getattr(obj, "__doc__", None) or "").startswith("Alias for field")
    is_foreign = not (getattr(obj, "__module__", None) or "numpyro_score").startswith("numpyro_")
    return True if is_field or (is_foreign and what == "class") else None


def setup(app) -> None:
    # before napoleon, which reads the sections
    app.connect("autodoc-process-docstring", document_kernels, priority=400)
    app.connect("autodoc-skip-member", skip_fields)
