"""The library's docstrings, which are plain text with `code` in backticks, as reStructuredText for Sphinx.

Indented formulas keep their lines, examples after >>> are Python, and nothing else has a meaning: `x * S`, |S| and w_k
stand as written.
"""

import re
from textwrap import dedent, indent

CODE = re.compile(r"`([^`]+)`")
SPECIAL = re.compile(r"([\\*_|])")


def restructured(lines: list[str]) -> list[str]:
    """The lines of a docstring (its indentation removed) as lines of reStructuredText."""
    blocks = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        kind = _kind(paragraph)
        if blocks and kind != "prose" and blocks[-1][0] == kind:
            blocks[-1][1].append(paragraph)  # a formula of several paragraphs stays one
        else:
            blocks.append((kind, [paragraph]))
    return "\n\n".join(_block(kind, "\n\n".join(paragraphs)) for kind, paragraphs in blocks).split("\n") + [""]


def _kind(paragraph: str) -> str:
    """An example, a formula or code (told by its indentation), or prose."""
    if paragraph.startswith(">>>"):
        return "pycon"
    return "text" if re.search(r"^    ", paragraph, re.MULTILINE) else "prose"


def _block(kind: str, text: str) -> str:
    return _prose(text) if kind == "prose" else f".. code-block:: {kind}\n\n{indent(dedent(text), '   ')}"


def _prose(text: str) -> str:
    parts = CODE.split(text)
    parts[::2] = [SPECIAL.sub(r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [
        f"\\ ``{' '.join(part.split())}``\\ " for part in parts[1::2]
    ]  # also where a letter follows, as in `Sample`s
    return "".join(parts)


def setup(app):
    def process(app, what, name, obj, options, lines):
        lines[:] = restructured(lines)

    def skip(app, what, name, obj, skipped, options):
        elsewhere = not getattr(obj, "__module__", "xailib").startswith("xailib")
        return True if elsewhere else None  # what a class got from matplotlib, say

    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}
