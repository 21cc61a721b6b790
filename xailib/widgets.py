"""One pattern for experiments by hand: controls, a pure `compute`, a pure `draw`, a picture and a sentence about it.

Explorer(
    lambda photo: ..., lambda result, opacity: ...,
    photo=choice(["coffee", "rocket"], "photograph"), opacity=slider(0, 1, 0.5, 0.05, "opacity"),
)
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from html import escape
from inspect import signature
from typing import Any

import ipywidgets

from xailib import plot

_WIDE = {"layout": {"width": "100%", "max_width": "34rem"}, "style": {"description_width": "9rem"}}


def choice(options: Sequence | Mapping[str, Any], label: str, value: Any = None) -> ipywidgets.Dropdown:
    """A list to choose one of `options` from (a dict shows its keys, yields its values); the first unless `value`."""
    first = next(iter(options.values() if isinstance(options, Mapping) else options))
    return ipywidgets.Dropdown(options=options, value=first if value is None else value, description=label, **_WIDE)


def slider(low: float | int, high: float | int, value: float | int, step: float | int, label: str) -> ipywidgets.Widget:
    """A slider from `low` to `high` at `value`, yielding whole numbers where all four numbers are whole."""
    whole = all(isinstance(number, int) for number in (low, high, value, step))
    kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    return kind(min=low, max=high, value=value, step=step, description=label, **_WIDE)


def toggle(value: bool, label: str) -> ipywidgets.Checkbox:
    """A box to tick, at `value`."""
    return ipywidgets.Checkbox(value=value, description=label, **_WIDE)


class Explorer:
    """Controls over a picture: each change computes a result, draws it, and says in a sentence what there is to see.

    `compute(**values)` makes the result, `draw(result, **values)` its `plot.Figure`; each takes the controls that its
    parameters name. Both must depend on nothing else: the last eight results are kept, so a control that only `draw`
    takes never computes. `controls` are widgets with a hashable `.value`, such as `choice`, `slider` and `toggle` make.

    Without a kernel, `.controls["name"].value = ...` or `.set(name=...)` do what a hand would do; then look at
    `.result`, `.figure` and `.updates`, how often a picture was drawn. An error is shown in place of the sentence and
    raised; result and figure are then None until the next update.
    Raises ValueError where a control is taken by neither function, or one of them needs a control that is not there.
    """

    def __init__(self, compute: Callable, draw: Callable, **controls: ipywidgets.Widget):
        self.controls, self.result, self.figure, self.updates = controls, None, None, 0
        self._inputs, self._looks = _parameters(compute, controls), _parameters(draw, controls, skip=1)
        unused = controls.keys() - set(self._inputs) - set(self._looks)
        if unused:
            raise ValueError(f"neither compute nor draw takes the control {sorted(unused)}; name it as a parameter")
        self._compute, self._draw, self._held = lru_cache(maxsize=8)(compute), draw, False
        self._picture = ipywidgets.Image(format="jpeg")  # it knows no alt; a tooltip breaks it
        self._sentence = ipywidgets.HTML()
        self.widget = ipywidgets.VBox([*controls.values(), self._picture, self._sentence])
        for control in controls.values():
            control.observe(self._update, names="value")
        self._update()

    @property
    def status(self) -> str:
        """What the sentence below the picture says."""
        return self._status

    def set(self, **values) -> None:
        """Sets several controls, or none where one refuses its value, and updates once.

        Raises ValueError for a control that is not there.
        """
        unknown = values.keys() - self.controls.keys()
        if unknown:
            raise ValueError(f"no control {sorted(unknown)}; there are {', '.join(self.controls)}")
        before, self._held = {name: self.controls[name].value for name in values}, True
        try:
            self._assign(values)
        except Exception:
            self._assign(before)
            raise
        finally:
            self._held = False
        self._update()

    def _assign(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            self.controls[name].value = value

    def _update(self, _=None) -> None:
        if self._held:
            return
        values = {name: control.value for name, control in self.controls.items()}
        self._say("computing…")
        try:
            self.result = self._compute(**{name: values[name] for name in self._inputs})
            self.figure = self._draw(self.result, **{name: values[name] for name in self._looks})
            self._show(self.figure)
        except Exception as error:
            self.result = self.figure = None
            self._picture.layout.visibility = "hidden"  # the last picture would belong to other values
            self._say(f"{type(error).__name__}: {error}", "alert")
            raise

    def _show(self, figure: plot.Figure) -> None:
        self._picture.value, self._picture.width = figure.encoded("jpeg"), str(figure.width)
        self._picture.layout.visibility = "visible"
        self._say(figure.alt)
        self.updates += 1

    def _say(self, sentence: str, role: str = "status") -> None:
        """A sentence below the picture, read aloud by screen readers, with room kept so that the page does not jump."""
        self._status, colour = sentence, "; color: #b00020" if role == "alert" else ""
        live = "assertive" if role == "alert" else "polite"
        style = f"max-width: 45rem; min-height: 3em; line-height: 1.5{colour}"
        self._sentence.value = f'<p role="{role}" aria-live="{live}" style="{style}">{escape(sentence)}</p>'

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        # the live widget, and a still picture for pages without a kernel
        data, metadata = self.figure._repr_mimebundle_() if self.figure else ({}, {})
        return {**data, **self.widget._repr_mimebundle_(), "text/plain": repr(self)}, metadata

    def __repr__(self) -> str:
        return f"Explorer: {self.status}"


def _parameters(function: Callable, controls: Mapping, skip: int = 0) -> list[str]:
    """The names of the controls that `function` takes, after its first `skip` parameters."""
    parameters = list(signature(function).parameters.values())[skip:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return list(controls)
    missing = [p.name for p in parameters if p.name not in controls and p.default is p.empty]
    if missing:
        raise ValueError(
            f"{getattr(function, '__name__', function)} needs {missing}, but the controls are {list(controls)}"
        )
    return [parameter.name for parameter in parameters if parameter.name in controls]
