"""How Sphinx builds the site: `make site` reads docs/ and writes build/site."""

import importlib.util
import pathlib
import shutil
import sys
import tomllib

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "_ext"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

project = "qnn_jax"
release = version = PROJECT["version"]
extensions = [
  "myst_parser",
  "sphinx.ext.autodoc",
  "sphinx.ext.napoleon",
  "sphinx.ext.mathjax",
  "sphinx_copybutton",
  "reference",  # docs/_ext
]

# Pages: Markdown with $x^T Q x$, numbered equations, ::: fences and definition lists.
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 4
smartquotes = False  # it would make one dash of the two of a flag

# The reference: docstrings are Google's style, and single backticks are code.
highlight_language = "text"  # of indented formulas, and of blocks on pages that name no language
default_role = "py:obj"  # code, and a link where the reference has that name
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_custom_sections = [("Attributes", "params_style")]  # a list, as Args are
napoleon_use_rtype = False
add_module_names = False
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"
nitpick_ignore_regex = [
  ("py:obj", r".*"),  # the default role: most code in a docstring is not a name
  ("py:class", r".*"),  # types in signatures: of other packages, or of no use by themselves
]

html_theme = "furo"
html_title = f"qnn_jax {release}"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_domain_indices = False  # the reference's own pages list the modules
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-dark"
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

# MathJax comes with a package and is copied into the site, so that mathematics needs no network.
# As SVG it needs no fonts, and without MathJax's menu nothing in it names another host.
MATHJAX = (
  "startup.js",
  "core.js",
  "input/tex-full.js",
  "output/svg.js",
  "output/svg/fonts/tex.js",
  "a11y/assistive-mml.js",
)
mathjax_path = "mathjax/startup.js"
mathjax3_config = {"loader": {"load": ["input/tex-full", "output/svg", "a11y/assistive-mml"]}}


def copy_mathjax(app, error):
  """Copies the few files of MathJax that `mathjax3_config` loads; the package's own way copies 23 MB."""
  if error or app.builder.format != "html":
    return
  (package,) = importlib.util.find_spec("sphinx-mathjax-offline").submodule_search_locations
  for name in MATHJAX:
    target = pathlib.Path(app.outdir) / "_static" / "mathjax" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(pathlib.Path(package) / "static" / "mathjax" / name, target)


def setup(app):
  app.connect("build-finished", copy_mathjax)
