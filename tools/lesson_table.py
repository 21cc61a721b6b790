"""The table of lessons, built from their heads: short in README.md, with goals and prerequisites in teaching/lessons.md."""

from pathlib import Path

from lesson_head import Head, read_head
from lesson_source import LessonError, sources

BEGIN = "<!-- lessons: built from the heads in lessons_src/ by 'make notebooks'; do not edit -->"
END = "<!-- end of lessons -->"


def outdated(root: Path) -> dict[str, str]:
    """The documents whose table is not that of the heads, by place, with the text they should have.

    A document that does not exist needs no table; one without the two marker lines is refused.
    """
    rows = _rows(root)
    tables = {"README.md": short_table(rows), "teaching/lessons.md": full_table(rows)}
    found = {place: (root / place).read_text(encoding="utf-8") for place in tables if (root / place).exists()}
    wanted = {place: _filled(text, tables[place], place) for place, text in found.items()}
    return {place: text for place, text in wanted.items() if text != found[place]}


def _rows(root: Path) -> dict[str, tuple[Head, Head | None]]:
    """By lesson ("00_name"): its head, and its exercise's where there is one."""
    heads = {path.stem: read_head(path) for path in sources(root)}
    return {name: (head, heads.get(f"{name}_ex")) for name, head in heads.items() if not name.endswith("_ex")}


def _filled(text: str, table: str, place: str) -> str:
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise LessonError(
            f"{place}: the table of lessons stands between the lines {BEGIN!r} and {END!r}; one is missing"
        )
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def short_table(rows: dict[str, tuple[Head, Head | None]]) -> str:
    lines = ["| | lesson | minutes | exercise | GPU |", "|---|---|---|---|---|"]
    for name, (head, exercise) in rows.items():
        link = f"[{head.title}](notebooks/{name}.ipynb)"
        gpu = "no" if head.seconds["full"] == head.seconds["laptop"] else "only for `full`"
        lines.append(f"| {name[:2]} | {link} | {minutes(head)} | {minutes(exercise) or ''} | {gpu} |")
    together = f"| | together | {_total(rows, 0)} | {_total(rows, 1)} | |"
    return "\n".join([*lines, together])


def full_table(rows: dict[str, tuple[Head, Head | None]]) -> str:
    columns = ["lesson", "you will", "you need", "minutes", "exercise", "laptop run", "memory", "data", "network"]
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, (head, exercise) in rows.items():
        link = f"[{head.title}](../notebooks/{name}.ipynb)"
        told = [head.rows[row] for row in ("You will", "You need")]
        needs = [_laptop(head), head.rows["Memory"], head.rows["Data"], head.rows["Network"]]
        cells = [name[:2], link, *told, str(minutes(head)), str(minutes(exercise) or ""), *needs]
        lines.append(f"| {' | '.join(cells)} |")
    together = f"| | together | | | {_total(rows, 0)} | {_total(rows, 1)} | | | | |"
    return "\n".join([*lines, together])


def minutes(head: Head | None) -> int:
    """The minutes in a head; 0 for no head."""
    return int(head.rows["Minutes"]) if head else 0


def _total(rows: dict[str, tuple[Head, Head | None]], which: int) -> str:
    together = sum(minutes(heads[which]) for heads in rows.values())
    return f"{together // 60} h {together % 60:02} min"


def _laptop(head: Head) -> str:
    seconds = head.seconds["laptop"]
    return f"{seconds:g} s" if seconds < 60 else f"{seconds / 60:g} min"
