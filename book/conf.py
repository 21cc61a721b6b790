"""The book's settings for Sphinx; `make book` copies this folder beside the notebooks and builds there."""

from importlib.metadata import version as installed

project = "What did the network look at?"
author = "the authors of the course"
copyright = "the authors of the course. Text and figures: CC BY 4.0, code: Apache-2.0"
release = installed("xailib")
language = "en"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinxcontrib.bibtex",
    "book_docstrings",
    "book_math",
]
exclude_patterns = ["_*.md"]

nb_execution_mode = "off"  # the notebooks come executed
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"

html_theme = "sphinx_book_theme"
html_title = project
html_theme_options = {
    "collapse_navigation": True,  # the whole tree on every page would take most of the time and of the space
    "show_toc_level": 2,
    "use_download_button": False,
}
html_sidebars = {"_modules/**": []}  # source files need no tree beside them
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_copy_source = False  # notebooks with all their pictures once more
html_show_sourcelink = False
html_show_search_summary = False  # a page opened from disk may not read the others
html_math_renderer = "mathml"
