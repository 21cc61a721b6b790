"""The two parts of the workbench that no standard control offers: a picture to paint on, and a place for a file."""

from pathlib import Path

import anywidget
import traitlets

HERE = Path(__file__).parent
LARGEST = 8_000_000  # bytes of a file: at ten million, a Jupyter server cuts the connection


class Brush(anywidget.AnyWidget):
    """A photograph to paint on. `mask` holds size x size bytes, 255 where it is hidden; set `reply` to answer it."""

    _esm = HERE / "brush.js"
    _css = HERE / "style.css"
    title = traitlets.Unicode().tag(sync=True)
    size = traitlets.Int(224).tag(sync=True)
    photograph = traitlets.CBytes().tag(sync=True)  # a JPEG
    mask = traitlets.CBytes().tag(sync=True, echo_update=False)
    asked = traitlets.Int(0).tag(sync=True)  # goes up with each mask, so that the same one can be sent again
    reply = traitlets.Dict().tag(sync=True)


class Upload(anywidget.AnyWidget):
    """A place to choose or drop a file. `count` goes up with each; one of more than `most` bytes comes without content."""

    _esm = HERE / "upload.js"
    most = traitlets.Int(LARGEST).tag(sync=True)
    name = traitlets.Unicode().tag(sync=True)
    bytes = traitlets.Int().tag(sync=True)
    content = traitlets.CBytes().tag(sync=True, echo_update=False)
    count = traitlets.Int(0).tag(sync=True)
