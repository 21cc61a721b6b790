"""The workbench as a person meets it, in JupyterLab and as a Voila app: upload, paint, compare, save, by mouse and by key."""

import io
import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import browser
import pytest
from PIL import Image

pytestmark = pytest.mark.browser
NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "workbench.ipynb"
SECONDS = 1000 * 90  # the first picture takes some: torch, the network, three methods


@contextmanager
def in_jupyterlab(folder, private, chromium):
    with browser.jupyterlab(folder, private) as lab:
        notebook = browser.Notebook(chromium, lab, NOTEBOOK.name)
        notebook.run_all()
        yield notebook.page
        assert notebook.errors() == []


@contextmanager
def in_voila(folder, private, chromium):
    server = browser.voila(folder / NOTEBOOK.name, private)
    with server as address:
        page, problems, asked = chromium.new_page(viewport={"width": 1200, "height": 1000}), [], []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: request.url.startswith("http") and asked.append(request.url))
        page.goto(address)
        yield page
        assert problems == []
        assert [url for url in asked if "127.0.0.1" not in url and "fontawesome" not in url] == []  # icons: not needed


@pytest.fixture(scope="module", params=[in_jupyterlab, in_voila], ids=["JupyterLab", "Voila"])
def page(request, tmp_path_factory, chromium):
    folder = tmp_path_factory.mktemp("workbench")
    shutil.copy(NOTEBOOK, folder)
    with request.param(folder, tmp_path_factory.mktemp("jupyter"), chromium) as page:
        page.locator(".xw-save a").wait_for(timeout=SECONDS)
        page.locator(".xw-big").wait_for(timeout=SECONDS)
        yield page
        if folder := os.environ.get("XAILIB_SCREENSHOTS"):
            page.set_viewport_size({"width": 1200, "height": 2100})
            page.screenshot(path=Path(folder) / f"workbench_{request.param.__name__}.png")


def says(page, sentence):
    page.locator(".xw-bench").get_by_text(re.compile(sentence)).first.wait_for(timeout=SECONDS)


def probability(page) -> float:
    """Of the class, as the brush leaves it."""
    return float(page.locator(".xw-big").inner_text().split("→")[1].replace("%", ""))


def drop(page, name, content):
    page.locator(".xw-upload input").set_input_files({"name": name, "mimeType": "image/png", "buffer": content})


def red() -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (90, 60), (255, 0, 0)).save(made, "PNG")
    return made.getvalue()


def test_painting_with_the_mouse_moves_the_probability(page):
    before = probability(page)
    page.locator(".xw-brush canvas").scroll_into_view_if_needed()
    box = page.locator(".xw-brush canvas").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    for step in range(12):
        page.mouse.move(box["x"] + (60 if step % 2 else 270), box["y"] + 60 + 18 * step, steps=4)
    page.mouse.up()
    page.wait_for_function(
        "before => Math.abs(parseFloat(document.querySelector('.xw-big').innerText.split('→')[1]) - before) > 20",
        arg=before,
        timeout=SECONDS,
    )
    page.get_by_role("button", name="clear").click()
    page.wait_for_function(
        "before => Math.abs(parseFloat(document.querySelector('.xw-big').innerText.split('→')[1]) - before) < 0.2",
        arg=before,
        timeout=SECONDS,
    )


def test_painting_by_key_moves_the_probability(page):
    before = page.locator(".xw-big").inner_text()
    page.locator(".xw-brush canvas").focus()
    for key in ["Space", *["Shift+ArrowLeft"] * 6, *["Shift+ArrowUp"] * 6]:
        page.keyboard.press(key)
    page.wait_for_function(
        "before => document.querySelector('.xw-big').innerText !== before", arg=before, timeout=SECONDS
    )
    page.get_by_role("button", name="clear").click()


def test_bad_uploads_get_a_sentence_and_a_good_one_is_shown(page):
    drop(page, "essay.png", b"no image at all")
    says(page, "essay.png is not an image that can be read here")
    drop(page, "film.png", b"0" * 9_000_000)
    says(page, "film.png has 9 MB, more than the 8 that can be sent")
    drop(page, "cut.png", red()[:60])
    says(page, "cut.png is (damaged|not an image)")
    assert page.locator("pre:has-text('Traceback')").count() == 0
    drop(page, "red.jpg", red())
    says(page, "red.jpg is shown, its middle square. By its name it is no PNG file")
    says(page, "3 methods for")


def test_lists_take_arrow_keys_and_the_picture_follows(page):
    picture = page.locator(".xw-bench .widget-image")
    before = picture.get_attribute("src")
    names = page.locator(".xw-bench select").first
    names.focus()
    names.press("ArrowDown")
    page.wait_for_function(
        "before => document.querySelector('.xw-bench .widget-image').src !== before", arg=before, timeout=SECONDS
    )
    assert names.evaluate("names => names === document.activeElement")
    says(page, "3 methods for")


def test_the_picture_is_saved(page, tmp_path):
    says(page, "3 methods for")
    page.locator(".xw-save a").wait_for(timeout=SECONDS)
    with page.expect_download() as waiting:
        page.locator(".xw-save a").press("Enter")
    waiting.value.save_as(tmp_path / "saved.png")
    with Image.open(tmp_path / "saved.png") as saved:
        saved.load()
        assert saved.format == "PNG" and saved.width > 1000 and "layer bn2" in saved.info["Description"]
    assert re.fullmatch(r"workbench_\w+\.png", waiting.value.suggested_filename)
