import io

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image
from traitlets import TraitError

from xailib import plot
from xailib.widgets import Explorer, choice, slider, toggle

GREY = torch.full((3, 8, 8), 0.5)


@pytest.fixture
def explorer():
    """Heat of a chosen height at opacity 1; `calls` records what was computed and drawn."""

    def compute(name, height):
        if height == 3:
            raise RuntimeError("height 3 is <cursed>")
        calls.append(("compute", name, height))
        return torch.tensor([[0.0, height]])

    def draw(result, height, opacity):
        calls.append(("draw", height, opacity))
        return plot.overlay(GREY, result, alt=f"Heat up to {height}.", opacity=opacity, limits=(0, 10))

    calls = []
    controls = {
        "name": choice(["a", "b"], "name"),
        "height": slider(1, 10, 2, 1, "height"),
        "opacity": slider(0, 1, 1.0, 0.1, "opacity"),
    }
    made = Explorer(compute, draw, **controls)
    made.calls = calls
    return made


def picture(explorer):
    return np.asarray(Image.open(io.BytesIO(explorer._picture.value))).astype(int)


def test_starts_with_a_picture(explorer):
    assert explorer.calls == [("compute", "a", 2), ("draw", 2, 1.0)]
    assert explorer.result.tolist() == [[0, 2]] and explorer.updates == 1
    assert explorer.figure.alt == explorer.status == "Heat up to 2."
    assert picture(explorer).shape[1] == pytest.approx(2 * int(explorer._picture.width), abs=1)


def test_a_change_computes_and_draws_once(explorer):
    before = picture(explorer)
    explorer.calls.clear()
    explorer.controls["height"].value = 9
    assert explorer.calls == [("compute", "a", 9), ("draw", 9, 1.0)]
    assert explorer.result.tolist() == [[0, 9]] and explorer.updates == 2
    assert explorer.status == "Heat up to 9." and "Heat up to 9." in explorer._sentence.value
    assert abs(picture(explorer) - before).max() > 50


def test_what_only_draw_takes_never_computes(explorer):
    explorer.calls.clear()
    explorer.controls["opacity"].value = 0.3
    assert explorer.calls == [("draw", 2, 0.3)] and explorer.updates == 2


def test_results_seen_before_are_kept(explorer):
    explorer.controls["height"].value = 9
    explorer.calls.clear()
    explorer.controls["height"].value = 2
    assert explorer.calls == [("draw", 2, 1.0)] and explorer.result.tolist() == [[0, 2]]


def test_set_updates_once(explorer):
    explorer.calls.clear()
    explorer.set(name="b", height=5, opacity=0.5)
    assert explorer.calls == [("compute", "b", 5), ("draw", 5, 0.5)] and explorer.updates == 2


def test_set_changes_nothing_where_one_value_is_refused(explorer):
    with pytest.raises(TraitError):
        explorer.set(height=5, name="c")
    assert explorer.controls["height"].value == 2 and explorer.result.tolist() == [[0, 2]] and explorer.updates == 1


def test_errors_are_shown_and_raised_and_leave_no_old_picture(explorer):
    with pytest.raises(RuntimeError, match="cursed"):
        explorer.controls["height"].value = 3
    assert explorer.status == "RuntimeError: height 3 is <cursed>"
    assert 'role="alert"' in explorer._sentence.value and "&lt;cursed&gt;" in explorer._sentence.value
    assert explorer.result is explorer.figure is None and explorer.updates == 1
    assert explorer._picture.layout.visibility == "hidden"
    assert "image/png" not in explorer._repr_mimebundle_()[0]
    explorer.controls["height"].value = 4
    assert explorer.status == "Heat up to 4." and explorer._picture.layout.visibility == "visible"


def test_a_drawing_that_fails_leaves_half_a_result_nowhere():
    def draw(result):
        if result == 1:
            raise ValueError("no drawing of 1")
        return figure(result)

    explorer = Explorer(lambda n: n, draw, n=slider(0, 5, 0, 1, "n"))
    with pytest.raises(ValueError, match="no drawing of 1"):
        explorer.controls["n"].value = 1
    assert explorer.result is explorer.figure is None and explorer.status == "ValueError: no drawing of 1"


def test_says_that_it_computes_and_draws():
    said = []

    def compute(n):
        said.append(explorer.status if n else "")

    def draw(result, wide):
        said.append(explorer.status if wide else "")
        return plot.bars({"a": 1}, alt="One bar.", xlabel="x")

    explorer = Explorer(compute, draw, n=slider(0, 5, 0, 1, "n"), wide=toggle(False, "wide"))
    explorer.controls["n"].value = 1
    explorer.controls["wide"].value = True
    assert said == ["", "", "computing…", "", "computing…"] and explorer.status == "One bar."


def test_page_without_a_kernel_shows_a_still_picture(explorer):
    data, metadata = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["image/png"] == explorer.figure._repr_mimebundle_()[0]["image/png"]
    assert 'alt="Heat up to 2."' in data["text/html"] and metadata["image/png"]["alt"] == "Heat up to 2."
    assert data["text/plain"] == "Explorer: Heat up to 2."


def test_controls_yield_what_they_say():
    assert choice({"Chelsea": 282, "coffee": 967}, "class").value == 282
    assert choice(["a", "b"], "letter", value="b").value == "b"
    whole, real = slider(1, 9, 3, 1, "n"), slider(0, 1, 0, 0.5, "x")
    assert isinstance(whole, ipywidgets.IntSlider) and isinstance(real, ipywidgets.FloatSlider)
    assert (real.min, real.max, real.step, real.description) == (0, 1, 0.5, "x")
    assert toggle(True, "boxes").value is True


def figure(result):
    return plot.bars({"a": 1}, alt="One bar.", xlabel="x")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Explorer(lambda n: n, figure, n=slider(0, 5, 0, 1, "n"), m=toggle(True, "m")),
            "neither .* .'m'.; name it",
        ),
        (
            lambda: Explorer(lambda n, k: n, figure, n=slider(0, 5, 0, 1, "n")),
            "needs .'k'., but the controls are .'n'.",
        ),
        (lambda: Explorer(lambda n: n, figure, n=slider(0, 5, 0, 1, "n")).set(k=1), "no control .'k'.; there are n"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
