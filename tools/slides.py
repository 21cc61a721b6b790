"""Slides for teachers: one HTML file for each lesson, in build/slides/, made from its source; opens from disk.

python tools/slides.py [--executed FOLDER] [LESSON...]    such as 08_cam_family; all lessons by default

A slide shows headings, formulas, tables, lists, what to predict, and code with what it printed or drew; the lesson's
whole text is in the speaker's notes. Figures come from executed copies ('make execute'), as long as their cells agree
with the source; without them the code stands alone.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

import nbformat
from latex2mathml.converter import convert
from lesson_head import read_head
from lesson_source import Cell, LessonError, read_source, sources
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = Path(__file__).with_name("slides.html")
SENTENCE = re.compile(r"(?<![ (][a-zA-Z]\.)(?<!al\.)(?<!eq\.)(?<!vs\.)(?<=[.?!:])\s+(?=[A-Z*`(])")
UNKNOWN_TO_THE_CONVERTER = {
    r"\Big\lfloor": r"\left\lfloor",
    r"\Big\rfloor": r"\right\rfloor",
    r"\arg\max": r"\operatorname{arg max}",
}


@dataclass
class Slide:
    html: str
    section: str = ""
    kind: str = "text"  # or "title", or "output" of a code cell
    notes: str = ""  # markdown: the lesson's own words
    reading: str = ""  # markdown: what a figure shows, behind a fold


class _Renderer(IPythonRenderer):
    """Formulas as MathML, which browsers draw by themselves."""

    def inline_math(self, body: str) -> str:
        return mathml(body)

    def block_math(self, body: str) -> str:
        return mathml(body, "block")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return text  # they lead to places beside the notebook, not beside the slides


def mathml(formula: str, display: str = "inline") -> str:
    for written, known in UNKNOWN_TO_THE_CONVERTER.items():
        formula = formula.replace(written, known)
    return convert(formula, display=display)


def html(markdown: str) -> str:
    return MarkdownWithMath(renderer=_Renderer(escape=False, exclude_anchor_links=True)).render(markdown)


def slides(cells: list[Cell], outputs: dict[str, list]) -> list[Slide]:
    """The slides of a lesson below its title, in order."""
    made: list[Slide] = []
    section = ""
    for cell in cells[1:]:
        if cell.kind == "code":
            if shown := _shown(cell, outputs.get(cell.source, []), section):
                made.append(Slide(shown, section, "output"))
            continue
        for piece in re.split(r"(?m)^(?=##)", cell.source):
            heading, body = _heading(piece)
            if heading == "Further reading" or not piece.strip():
                continue
            section = heading or section
            _add(made, heading, body, section)
    return made


def _heading(piece: str) -> tuple[str, str]:
    found = re.match(r"##+ (.*)\n?", piece)
    return (found[1], piece[found.end() :]) if found else ("", piece)


def _add(made: list[Slide], heading: str, body: str, section: str) -> None:
    """A new slide for a text, or, where it only reads back a figure, a fold below that figure."""
    paragraphs = [part for part in re.split(r"\n\s*\n", body.strip()) if not part.startswith("**Now you**")]
    below = not heading and made and made[-1].kind == "output" and not made[-1].reading
    reads_back = below and paragraphs and not paragraphs[0].startswith("**Predict")
    if reads_back:
        made[-1].reading = _sentences(paragraphs[0])[0]
        made[-1].notes = body.strip()
    kept = list(_kept(paragraphs, lead=not reads_back))
    if heading or kept:
        title = f"## {heading}\n\n" if heading else ""
        made.append(Slide(html(title + "\n\n".join(kept)), section, notes="" if reads_back else body.strip()))


def _kept(paragraphs: list[str], lead: bool) -> Iterator[str]:
    """What of a text stands on the slide: formulas, tables, lists, and what to predict; its first sentence if `lead`."""
    for i, paragraph in enumerate(paragraphs):
        if re.match(r"\$\$|\||[-*] |\d+\. |```|> ", paragraph):
            yield paragraph
            continue
        sentences = _sentences(paragraph)
        predict = next((j for j, sentence in enumerate(sentences) if "**Predict" in sentence), None)
        if i == 0 and lead and predict != 0 and predict != 1:
            yield sentences[0]
        if predict is not None:
            yield "> " + " ".join(sentences[max(0, predict - 1) :])  # with the sentence that sets the scene


def _sentences(paragraph: str) -> list[str]:
    return SENTENCE.split(" ".join(paragraph.split("\n")))


def _shown(cell: Cell, outputs: list, section: str) -> str:
    """What a slide shows of a code cell: its code with what it printed, or what it drew; "" for tests and set-up."""
    drawn = "".join(map(_drawn, outputs)).replace("</pre><pre class=printed>", "")
    for_widget = section.startswith("Explore") or "def draw(" in cell.source
    sets_up = for_widget or _only_imports(cell.source.split("@dataclass")[0])
    if "test" in cell.tags or (sets_up and not drawn):
        return ""
    code = f"<pre><code>{escape(cell.source)}</code></pre>"
    pictured = "<img" in drawn or "<table" in drawn
    return f"{drawn}<details><summary>code</summary>{code}</details>" if pictured else code + drawn


def _only_imports(code: str) -> bool:
    return all(re.match(r"(from|import) |[\s()]|$", line) for line in code.splitlines())


def _drawn(output: dict) -> str:
    if output["output_type"] == "stream":
        return f"<pre class=printed>{escape(output['text'])}</pre>" if output["name"] == "stdout" else ""
    data, about = output.get("data", {}), output.get("metadata", {}).get("image/png", {})
    if "image/png" in data:
        text = escape(about.get("alt", ""))
        return f'<img alt="{text}" src="data:image/png;base64,{data["image/png"].strip()}">'
    if "<table" in data.get("text/html", ""):
        return re.sub(r"(?s)<style.*?</style>", "", data["text/html"])
    text = data.get("text/plain", "")
    return f"<pre class=printed>{escape(text)}</pre>" if text else ""


def deck(source: Path, executed: Path) -> str:
    """The HTML of a lesson's slides."""
    head, cells = read_head(source), read_source(source)
    about = "\n".join(f"| {row} | {head.rows[row]} |" for row in ("You will", "You need", "Minutes", "Run time"))
    title = Slide(html(f"# {head.title}\n\n| | |\n|---|---|\n{about}"), kind="title")
    made = [title, *slides(cells, _outputs(executed / f"notebooks/{source.stem}.ipynb"))]
    body = "\n".join(_section(slide, number, len(made)) for number, slide in enumerate(made, start=1))
    page = TEMPLATE.read_text(encoding="utf-8")
    return page.replace("{{title}}", escape(head.title)).replace("{{slides}}", body)


def _section(slide: Slide, number: int, count: int) -> str:
    fold = f"<details><summary>in words</summary>{html(slide.reading)}</details>" if slide.reading else ""
    notes = f"<aside>{html(slide.notes)}</aside>" if slide.notes else ""
    foot = f"<footer>{escape(slide.section)} <span>{number} / {count}</span></footer>"
    return f'<section class="{slide.kind}"><div>{slide.html}{fold}</div>{notes}{foot}</section>'


def _outputs(notebook: Path) -> dict[str, list]:
    """What each code cell of an executed copy showed, by its code: changed cells have no outputs."""
    if not notebook.exists():
        return {}
    cells = nbformat.read(notebook, as_version=4).cells
    return {cell.source: cell.outputs for cell in cells if cell.cell_type == "code"}


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", metavar="LESSON")
    parser.add_argument("--executed", type=Path, default=root / "build" / "executed", metavar="FOLDER")
    options = parser.parse_args(arguments)
    lessons = {path.stem: path for path in sources(root) if not path.stem.endswith("_ex")}
    for name in options.lessons or lessons:
        if name not in lessons:
            print(f"no lesson {name!r}; there are: {', '.join(lessons)}", file=sys.stderr)
            return 1
        page = root / "build" / "slides" / f"{name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        text = deck(lessons[name], options.executed)
        page.write_text(text, encoding="utf-8", newline="\n")
        print(f"{page.relative_to(root)}{'' if 'data:image' in text else ', without figures'}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LessonError as error:
        sys.exit(str(error))
