"""Does every link of the built book lead somewhere, and does every page open without the network?"""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "link": "href",
}
NOT_LOADED = (
    "canonical",
    "search",
    "next",
    "prev",
    "index",
    "author",
    "copyright",
)  # <link rel=...> that fetch nothing
STYLE = re.compile(r"""url\(\s*['"]?([^'")]+)|@import\s+['"]([^'"]+)""")


class _Page(HTMLParser):
    """What a page links to, what it loads, and the places in it that a link can lead to."""

    def __init__(self):
        super().__init__()
        self.links, self.loads, self.places = set(), set(), {"", "top"}

    def handle_starttag(self, tag, attributes):
        values = {name: value or "" for name, value in attributes}
        self.places |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        elif LOADED.get(tag) in values and values.get("rel") not in NOT_LOADED:
            self.loads.add(values[LOADED[tag]])


def faults(book: Path) -> list[str]:
    """A sentence for each link of a page to a file or place that is not there, and each address that a page loads."""
    pages = {path: _read(path) for path in sorted(book.rglob("*.html")) if "_static" not in path.parts}
    found = [fault for path, page in pages.items() for fault in _faults(path, page, pages, book)]
    return found + [fault for path in sorted(book.rglob("*.css")) for fault in _style_faults(path, book)]


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _faults(path: Path, page: _Page, pages: dict[Path, _Page], book: Path) -> list[str]:
    where = path.relative_to(book).as_posix()
    loaded = [f"{where} loads {link} from outside" for link in sorted(page.loads) if _is_outside(link)]
    local = [link for link in sorted(page.links | page.loads) if not urlsplit(link).scheme and not _is_outside(link)]
    return loaded + [f"{where} links to {link}, which is not there" for link in local if not _leads(link, path, pages)]


def _leads(link: str, path: Path, pages: dict[Path, _Page]) -> bool:
    parts = urlsplit(link)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target not in pages or target.suffix != ".html":
        return target.is_file()
    return unquote(parts.fragment) in pages[target].places


def _style_faults(path: Path, book: Path) -> list[str]:
    addresses = [a or b for a, b in STYLE.findall(path.read_text(encoding="utf-8"))]
    return [
        f"{path.relative_to(book).as_posix()} loads {address} from outside"
        for address in addresses
        if _is_outside(address)
    ]


def _is_outside(link: str) -> bool:
    return link.startswith("//") or urlsplit(link).scheme in ("http", "https", "ftp")
