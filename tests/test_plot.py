import io
import subprocess
import sys
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from xailib import plot

GREY = torch.full((3, 8, 8), 0.5)
STEP = torch.tensor([[0.0, 1.0], [0.0, 1.0]])  # heat on the right half only


def rendered(figure):
    return np.asarray(Image.open(io.BytesIO(figure.encoded())).convert("RGB")).astype(int)


def pixel(figure, x, y):
    """The colour at (x, y) in the units of the figure's first panel."""
    picture = rendered(figure)
    right, up = figure.axes[0].transData.transform((x, y)) / figure.bbox.size * picture.shape[1::-1]
    return picture[-1 - int(up), int(right)]


def bar_labels(axes):
    return [label.get_text() for label in axes.child_axes[0].get_xticklabels()]


def colour(name, value):
    return np.round(255 * np.array(matplotlib.colormaps[name](value)[:3])).astype(int)


def test_opaque_overlay_has_the_colours_of_the_map():
    figure = plot.overlay(GREY, STEP, alt="a step", opacity=1)
    assert abs(pixel(figure, 2, 4) - colour("inferno", 0.0)).max() <= 2
    assert abs(pixel(figure, 6, 4) - colour("inferno", 1.0)).max() <= 2


def test_opacity_mixes_map_and_grey_photograph():
    lifted = 255 * (0.5 + 0.25) / 1.25
    figure = plot.overlay(GREY, STEP, alt="a step", opacity=0.25)
    assert abs(pixel(figure, 6, 4) - (0.75 * lifted + 0.25 * colour("inferno", 1.0))).max() <= 3


def test_without_a_map_the_photograph_keeps_its_colours():
    red = torch.zeros(3, 8, 8)
    red[0] = 1
    assert pixel(plot.gallery([red], alt="red"), 4, 4).tolist() == [255, 0, 0]


def test_bar_shows_the_values_of_the_map_itself():
    assert bar_labels(plot.overlay(GREY, 3 * STEP + 0.5, alt="a").axes[0]) == ["0.5", "3.5"]
    assert bar_labels(plot.overlay(GREY, STEP, alt="a", limits=(0, 4)).axes[0]) == ["0", "4"]
    assert bar_labels(plot.overlay(GREY, torch.full((2, 2), 0.3), alt="constant").axes[0]) == ["0.3"]


def test_signed_map_has_zero_in_the_middle():
    figure = plot.overlay(GREY, STEP * 3 - 1, alt="from minus one to two", opacity=1)
    assert bar_labels(figure.axes[0]) == ["-2", "0", "2"]
    assert abs(pixel(figure, 2, 4) - colour("RdBu_r", 0.25)).max() <= 2


def test_scale_of_a_gallery_is_each_maps_own_or_shared():
    images, maps = [GREY] * 3, [STEP, None, 10 * STEP + 1]
    own = plot.gallery(images, maps, alt="a")
    assert bar_labels(own.axes[0]) == ["0", "1"] and bar_labels(own.axes[2]) == ["1", "11"]
    shared = plot.gallery(images, maps, alt="a", limits="shared")
    assert bar_labels(shared.axes[0]) == bar_labels(shared.axes[2]) == ["0", "11"]
    assert not own.axes[1].child_axes
    assert "each map on its own scale" in own.texts[0].get_text()
    assert "one scale for all maps" in shared.texts[0].get_text()


def test_panels_run_row_by_row_under_their_titles():
    figure = plot.gallery([GREY] * 5, alt="a", titles=list("abcde"), columns=2, row_titles=["x", "y", "z"])
    places = [axes.get_position() for axes in figure.axes]
    assert places[0].y0 == pytest.approx(places[1].y0) and places[1].y0 > places[2].y0 > places[4].y0
    assert places[0].x0 == pytest.approx(places[2].x0) and places[0].x1 < places[1].x0
    assert [axes.get_title(loc="left") for axes in figure.axes] == list("abcde")
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["x", "y", "z"]


def test_box_covers_its_half_open_pixels():
    figure = plot.overlay(GREY, STEP, alt="a", boxes=torch.tensor([[1, 2, 5, 8]]))
    box = figure.axes[0].patches[0]
    assert (box.get_xy(), box.get_width(), box.get_height()) == ((1, 2), 4, 6)
    assert figure.axes[0].get_xlim() == (0, 8) and figure.axes[0].get_ylim() == (8, 0)


def test_photographs_may_have_different_numbers_of_boxes():
    boxes = [torch.tensor([[0, 0, 2, 2]] * count) for count in (1, 2, 3, 4)]  # one of a list is type-checked, by chance
    for _ in range(10):
        figure = plot.gallery([torch.zeros(3, 4, 4)] * 4, boxes=boxes, alt="x")
    assert [len(axes.patches) for axes in figure.axes] == [1, 2, 3, 4]


def test_figure_shows_itself_with_its_description():
    figure = plot.curve([0, 1], {"f": [2, 3]}, alt='A line from 2 to 3, <b>"rising"</b>.', xlabel="x", ylabel="y")
    data, metadata = figure._repr_mimebundle_()
    images = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: images.append((tag, dict(attributes)))
    parser.feed(data["text/html"])
    ((tag, attributes),) = images
    assert tag == "img" and attributes["alt"] == figure.alt and attributes["src"].endswith(data["image/png"])
    assert metadata["image/png"] == {"alt": figure.alt, "width": 600}
    assert repr(figure) == f"Figure: {figure.alt}"
    assert rendered(figure).shape[1] == 2 * int(attributes["width"])


def test_curves_differ_in_grey_too():
    figure = plot.curve(
        torch.arange(3), {str(k): torch.full((3,), float(k)) for k in range(7)}, alt="a", xlabel="x", ylabel="y"
    )
    lines = figure.axes[0].lines
    assert [line.get_ydata()[0] for line in lines] == list(range(7))
    assert len({line.get_color() for line in lines}) == len({str(line._unscaled_dash_pattern) for line in lines}) == 7
    assert [text.get_text() for text in figure.axes[0].get_legend().texts] == list("0123456")


def test_bars_write_their_numbers_first_on_top():
    figure = plot.bars({"espresso": 0.94, "cup": 0.0161}, alt="a", xlabel="probability")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.94", "0.0161"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.94, 0.0161])
    assert axes.yaxis_inverted() and [label.get_text() for label in axes.get_yticklabels()] == ["espresso", "cup"]


def test_intervals_have_a_panel_each_and_a_row_per_name():
    figure = plot.intervals({"AD": {"a": (2, 1, 4), "b": (3, 3, 3)}, "AG": {"b": (5, 0, 6)}}, alt="a", columns=2)
    left, right = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["AD", "AG"]
    assert left.lines[0].get_xydata().tolist() == [[2, 0], [3, 1]] and right.lines[0].get_xydata().tolist() == [[5, 1]]
    assert left.collections[0].get_segments()[0].tolist() == [[1, 0], [4, 0]]
    assert [label.get_text() for label in left.get_yticklabels()] == ["a", "b"] and left.yaxis_inverted()
    assert left.get_ylim() == right.get_ylim()  # the empty row stays


def test_tensors_that_need_gradients_and_small_floats_are_drawn():
    heat = STEP.bfloat16().requires_grad_()
    assert bar_labels(plot.overlay(GREY.half(), heat, alt="a").axes[0]) == ["0", "1"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensors_on_a_gpu_are_drawn():
    assert bar_labels(plot.overlay(GREY.cuda(), STEP.cuda(), alt="a").axes[0]) == ["0", "1"]


def test_pyplot_stays_out():
    code = "import sys, xailib.plot; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot.overlay(GREY, STEP, alt=" "), "alt is empty; describe"),
        (lambda: plot.bars({"a": 1}, alt="", xlabel="x"), "alt is empty"),
        (lambda: plot.overlay(GREY, STEP / 0, alt="a"), "map contains NaN or infinite"),
        (lambda: plot.overlay(GREY * torch.nan, STEP, alt="a"), "image contains NaN"),
        (lambda: plot.overlay(GREY * 3, STEP, alt="a"), r"pixels must lie in \[0, 1\], found 1.5 to 1.5"),
        (lambda: plot.overlay(GREY, STEP, alt="a", opacity=2), "opacity must lie in"),
        (lambda: plot.overlay(GREY, STEP, alt="a", limits=(1, 0)), "limits must be"),
        (lambda: plot.gallery([], alt="a"), "nothing to draw: 0 images"),
        (lambda: plot.gallery([GREY], alt="a", columns=0), "nothing to draw: 1 images in 0 columns"),
        (lambda: plot.gallery([GREY, GREY], [STEP], alt="a"), "maps has 1 entries, but there are 2 images"),
        (lambda: plot.gallery([GREY, GREY], alt="a", titles=["x"]), "titles has 1 entries"),
        (lambda: plot.gallery([GREY, GREY], alt="a", columns=1, row_titles=["x"]), "but there are 2 rows"),
        (lambda: plot.gallery([GREY[0]], alt="a"), "an image must be"),
        (lambda: plot.gallery([GREY], [STEP[None]], alt="a"), r"a map must be .* maps\[0\]"),
        (lambda: plot.curve([0, 1], {"f": [1]}, alt="a", xlabel="", ylabel=""), "f has 1 entries, but there are 2 x"),
        (lambda: plot.curve([0, 1], {"f": [1, torch.nan]}, alt="a", xlabel="", ylabel=""), "'f' contains NaN"),
        (lambda: plot.bars({}, alt="a", xlabel="x"), "nothing to draw: values is empty"),
        (lambda: plot.intervals({}, alt="a"), "nothing to draw: 0 panels"),
        (lambda: plot.intervals({"AD": {"a": (torch.nan, 0, 1)}}, alt="a"), "AD contains NaN"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
