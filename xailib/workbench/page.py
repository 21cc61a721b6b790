"""The page of the workbench: its controls, where each stands, and the line that tells what goes on."""

from html import escape

import ipywidgets as w

from xailib.widgets import choice
from xailib.workbench import hiding, networks, photographs
from xailib.workbench.brush import Brush, Upload
from xailib.workbench.methods import METHODS, MOST

_FIRST = ("Grad-CAM", "Layer-CAM", "integrated gradients")


class Page:
    """What there is to see and to move; `xailib.workbench.app` says what a move does."""

    def __init__(self, photograph: str, network: str):
        self.status = ""  # what the line beside the progress says
        self.photographs = choice(photographs.offered(), "photograph", photograph)
        self.upload = Upload()
        self.names = w.Combobox(value=network, options=networks.names(), description="network", continuous_update=False)
        self.random = w.Button(description="try it with random weights", layout={"display": "none", "width": "98%"})
        self.layer = w.Combobox(description="layer", continuous_update=False)
        self.asked = w.Combobox(description="class", continuous_update=False, placeholder="type a part of a name")
        self.guesses = w.VBox()
        for control in (self.photographs, self.names, self.layer, self.asked):
            control.layout, control.style = w.Layout(width="98%"), {"description_width": "5.5rem"}
        self.methods = {name: _tick(name, name in _FIRST) for name in METHODS}
        self.stop = w.Button(description="stop", disabled=True)
        self.progress = w.FloatProgress(min=0, max=1, layout={"width": "14rem", "display": "none"})
        self._said, self.notes, self.about, self.save = w.HTML(), w.HTML(), w.HTML(), w.HTML()
        self.picture, self.alt = w.Image(format="jpeg"), w.HTML()
        self.brush, self.substrate = Brush(), choice(hiding.SUBSTRATES, "hidden parts become")
        self.widget = self._arranged()

    def _arranged(self) -> w.VBox:
        what = _card("1  A photograph", self.photographs, self.upload, self.notes)
        which = _card("2  A network", self.names, self.random, self.layer, self.about)
        whom = _card("3  A class", self.asked, self.guesses)
        top = w.GridBox([what, which, whom], layout={"grid_template_columns": "repeat(3, 1fr)", "grid_gap": "0.6rem"})
        ticks = w.GridBox(
            [*self.methods.values()], layout={"grid_template_columns": "repeat(5, auto)", "grid_gap": "0 0.8rem"}
        )
        ticks.add_class("xw-methods")
        controls = w.HBox([self.stop, self.progress, self._said], layout={"align_items": "center"})
        methods = _card(f"4  Up to {MOST} methods, side by side", ticks, controls)
        maps = _card("", self.picture, self.alt, self.save)
        brush = _card("5  Hide what you like, and see what the network says", self.substrate, self.brush)
        bench = w.VBox([top, methods, maps, brush], layout={"grid_gap": "0.6rem"})
        bench.add_class("xw-bench")
        return bench

    def say(self, sentence: str, problem: bool = False) -> None:
        """Shows a sentence beside the progress; a problem is read out at once by a screen reader."""
        self.status = sentence
        role, kind = ("alert", "xw-problem") if problem else ("status", "xw-status")
        self._said.value = f'<p role="{role}" class="{kind}">{escape(sentence)}</p>'

    def guess(self, guesses: dict[str, str]) -> None:
        """Shows a button for each label of a class, with the given text; pressed, it asks for that class."""
        self.guesses.children = [w.Button(description=text, layout={"width": "98%"}) for text in guesses.values()]
        for label, button in zip(guesses, self.guesses.children, strict=True):
            button.on_click(lambda _, label=label: setattr(self.asked, "value", label))


def note(text: str) -> str:
    """A small paragraph of HTML."""
    return f'<p class="xw-note">{escape(text)}</p>'


def _tick(name: str, value: bool) -> w.Checkbox:
    effort = METHODS[name].effort
    return w.Checkbox(value=value, description=f"{name} ({effort})" if effort else name, indent=False)


def _card(title: str, *children: w.Widget) -> w.VBox:
    card = w.VBox([w.HTML(f"<h2>{title}</h2>"), *children] if title else [*children])
    card.add_class("xw-card")
    return card
