"""Does every link in the Markdown of files and lessons lead to a file, and to a heading if it names one?

python tools/links.py

Nothing is fetched: outside addresses are looked at for their form alone. Links of the book are followed as it is built.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from posixpath import normpath
from urllib.parse import unquote

from lesson_source import apps, read_source, sources
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin

ROOT = Path(__file__).resolve().parents[1]
MARKDOWN = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)  # [a](b) in a formula is no link
HTML_LINK = re.compile(r"""(?:href|src)\s*=\s*["']([^"']*)""")
OUTSIDE = re.compile(r"https?://[\w-]+(\.[\w-]+)+(:\d+)?([/?#]\S*)?|mailto:\S+@\S+")


@dataclass(frozen=True)
class Text:
    """A piece of Markdown, the folder its links start from, and where it was written."""

    markdown: str
    folder: PurePosixPath
    file: str
    line: int = 1


def faults(root: Path) -> list[str]:
    """A sentence for each link that leads nowhere, with its place."""
    there = files(root)
    said = []
    for text in [*_documents(root, there), *_lessons(root)]:
        for line, link in links(text.markdown):
            if fault := _fault(link, text, root, there):
                said.append(f"{text.file}:{text.line + line}: {link} {fault}")
    return said


def files(root: Path) -> set[str]:
    """What git keeps or, in a copy without git, all files."""
    if not (root / ".git").exists():
        return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.split("\0") if (root / name).is_file()}


def links(markdown: str) -> Iterator[tuple[int, str]]:
    """Each link and picture, with the line, counted from 0, on which its paragraph begins."""
    for block in MARKDOWN.parse(markdown):
        for token in [block, *(block.children or ())]:
            for link in _addresses(token):
                yield (block.map or [0])[0], link


def _addresses(token: Token) -> list[str]:
    if token.type in ("html_block", "html_inline"):
        return HTML_LINK.findall(token.content)
    return [str(token.attrs[name]) for name in ("href", "src") if name in token.attrs]


def places(markdown: str) -> set[str]:
    """The names by which GitHub and JupyterLab's preview know the headings: small letters, with hyphens for spaces."""
    tokens = MARKDOWN.parse(markdown)
    found: list[str] = []
    for opening, heading in zip(tokens, tokens[1:], strict=False):
        if opening.type == "heading_open":
            said = "".join(part.content for part in heading.children or ())
            found.append(re.sub(r"[^\w\- ]", "", said.lower()).replace(" ", "-"))
    return {f"{name}-{found[:at].count(name)}" if name in found[:at] else name for at, name in enumerate(found)}


def _documents(root: Path, there: set[str]) -> Iterator[Text]:
    for name in sorted(there):
        if name.endswith(".md") and not name.startswith("book/"):
            yield Text((root / name).read_text(encoding="utf-8"), PurePosixPath(name).parent, name)


def _lessons(root: Path) -> Iterator[Text]:
    """Their links start from the notebook's folder, one below the root."""
    for source in [*sources(root), *apps(root)]:
        for cell in read_source(source):
            if cell.kind == "markdown":
                name = source.relative_to(root).as_posix()
                yield Text(cell.source, PurePosixPath("notebooks"), name, cell.line + 1)


def _fault(link: str, text: Text, root: Path, there: set[str]) -> str | None:
    """What is wrong with a link, if anything is."""
    if re.match(r"[a-z]+:|//", link, re.IGNORECASE):
        return None if OUTSIDE.fullmatch(link) else "is no whole address"
    path, _, place = unquote(link).partition("#")
    target = normpath(text.folder / path) if path else text.file
    if target not in there and not any(name.startswith(f"{target}/") for name in there):
        return "leads to no file of the repository"
    if place and target.endswith(".md") and place not in places((root / target).read_text(encoding="utf-8")):
        return f"leads to no heading of {target}"
    return None


def main(root: Path = ROOT) -> int:
    found = faults(root)
    print(*found, f"{len(found)} broken links; outside addresses were not fetched", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
