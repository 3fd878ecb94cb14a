"""Configuration of the manual: the pages of docs/, the studies, and the docstrings. `make docs` builds docs/_build."""

from importlib.metadata import version as version_of

project, author = "cardioemu", "The cardioemu authors"
copyright = author  # noqa: A001
version = release = version_of("cardioemu")

# The root of the sources is that of the repository, so that relative links also work on a code host.
root_doc = "docs/index"
include_patterns = ["docs/**.md", "experiments/*/README.md"]
exclude_patterns = ["docs/_build"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 3
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes of a class in its docstring are not documented a second time
html_theme = "furo"
html_title = f"cardioemu {version}"
