"""Notebooks as pages of the book: numbered titles, links that lead into the book, widgets as they stood at the end."""

import re
from html import escape, unescape

import nbformat
from lesson_execute import WIDGET_STATE
from nbformat import NotebookNode

SHOWN = ("ImageModel", "HTMLModel")  # parts of a widget that are no controls
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
LINK = re.compile(r"(?<=\]\()\.\./([^)#\s]+)")
NAMES = {"notebooks": "Lesson", "exercises": "Exercise", "solutions": "Solution"}


class BookError(ValueError):
    """Something that the book cannot show, with the reason and the place."""


def page(place: str, notebook: NotebookNode, run: dict, folders: list[str]) -> NotebookNode:
    """The notebook as the book shows it.

    `run` is the record of its execution, empty where it was not executed; `folders` hold a notebook of this name.
    """
    folder, name = place.removesuffix(".ipynb").split("/")
    _still(notebook, place)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(lambda link: f"../{in_book(link[1])}", cell.source)
    head = notebook.cells[0]
    head.source = head.source.replace("# ", f"# {name[:2]} · ", 1)
    if folder == "solutions":
        head.source = re.sub(r"Exercise$", "Solution", head.source, count=1, flags=re.MULTILINE)
    others = [other for other in folders if other != folder]
    below = [" · ".join(_links(others, name) + ([] if folder == "exercises" else [_ran(run)]))]
    if folder == "notebooks":
        below.append(_tree(others, name))
    notebook.cells[1:1] = [nbformat.v4.new_markdown_cell(text) for text in below]
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
    return notebook


def in_book(path: str) -> str:
    """Where the book shows a file of the repository: a module on its page of the reference, other files as they are."""
    if not re.fullmatch(r"xailib/.*\.py", path):
        return path
    return f"reference/{path.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}.rst"


def linked_files(cells: list) -> set[str]:
    """The files of the repository that a notebook's text links to, other than modules and notebooks."""
    found = {path for cell in cells if cell.cell_type == "markdown" for path in LINK.findall(cell.source)}
    return {path for path in found if not path.endswith(".ipynb") and in_book(path) == path}


def _links(folders: list[str], name: str) -> list[str]:
    return [f"[{NAMES[folder]}](../{folder}/{name}.ipynb)" for folder in folders]


def _tree(folders: list[str], name: str) -> str:
    entries = [f"{NAMES[folder]} <../{folder}/{name}>" for folder in folders]
    return "\n".join(["```{toctree}", ":hidden:", "", *entries, "```"])


def _ran(run: dict) -> str:
    if not run:
        return "Not run: this page shows the code without its results."
    profile, seconds = run["profile"], f"{run['seconds']:.0f} s"
    said = f"Ran on {run['date'][:10]} in the profile `{profile}`, in {seconds} ([more](../last_run.md))."
    if profile == "quick":
        said += " It is the tests' profile: what is trained here is trained too little."
    return said


# --- widgets -----------------------------------------------------------------------------------------------------------


def _still(notebook: NotebookNode, place: str) -> None:
    """Replaces each live widget by what its saved state shows: no kernel answers in a book."""
    state = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if WIDGET_VIEW in output.get("data", {}):
                output["data"] = {"text/html": still(output["data"][WIDGET_VIEW]["model_id"], state, place)}


def still(identity: str, state: dict, place: str = "") -> str:
    """A widget of controls, one picture and a sentence, or a progress bar, as HTML. Raises BookError for others."""
    parts = _leaves(identity, state, place)
    if any(part["model_name"] == "FloatProgressModel" for part in parts):
        return f"<pre>{_words(parts)}</pre>"
    pictures = [part for part in parts if part["model_name"] == "ImageModel"]
    sentences = [part["state"]["value"] for part in parts if part["model_name"] == "HTMLModel"]
    if len(pictures) != 1 or any('role="alert"' in sentence for sentence in sentences):
        raise BookError(f"{place}: a widget ends with an error, or without one picture; the book cannot show it")
    settings = "".join(f"<li>{_setting(part)}</li>" for part in parts if part["model_name"] not in SHOWN)
    hint = "An experiment: in JupyterLab you move its controls. Here it stands at"
    caption = f"<figcaption>{hint}<ul>{settings}</ul></figcaption>"
    return f'<figure class="experiment">{_picture(pictures[0], _words(parts))}{caption}</figure>'


def _words(parts: list[dict]) -> str:
    """What the sentences of a widget say, without their markup, fit for HTML."""
    sentences = [part["state"]["value"] for part in parts if part["model_name"] == "HTMLModel"]
    return escape(" ".join(unescape(re.sub(r"<[^>]+>", "", sentence)).strip() for sentence in sentences))


def _leaves(identity: str, state: dict, place: str) -> list[dict]:
    if identity not in state:
        raise BookError(f"{place}: the state of a widget was not saved; run the notebook again")
    model = state[identity]
    children = model["state"].get("children")
    if children is None:
        return [model]
    return [leaf for child in children for leaf in _leaves(child.removeprefix("IPY_MODEL_"), state, place)]


def _setting(model: dict) -> str:
    values = model["state"]
    value = values["_options_labels"][values["index"]] if "_options_labels" in values else values["value"]
    if isinstance(value, bool):
        value = "yes" if value else "no"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{escape(values['description'])}: <b>{escape(text)}</b>"


def _picture(model: dict, alt: str) -> str:
    values, (buffer,) = model["state"], model["buffers"]
    source = f"data:image/{values['format']};base64,{''.join(buffer['data'].split())}"
    return f'<img src="{source}" width="{values["width"]}" alt="{alt}">'
