"""What happens when a control of the workbench is moved."""

import re
import threading
from base64 import b64encode
from collections.abc import Callable
from functools import partial

import torch

from xailib.models.zoo import OFFLINE
from xailib.plot import Figure
from xailib.workbench import compare, hiding, networks, photographs
from xailib.workbench.methods import METHODS, MOST
from xailib.workbench.page import Page, note
from xailib.workbench.picture import jpeg, picture, png
from xailib.workbench.worker import Clock, Worker


class Workbench(Page):
    """Photograph, network, class, layer and methods to choose; maps, scores and a brush in answer.

    Each change is answered by itself, in a thread; `wait()` waits for the answers. `question`, `answers`, `figure` and
    `status` tell what is shown. An upload that is no image, a name of no network, a class that is not there: each gets
    a sentence, and what was there before stays.
    """

    def __init__(self, photograph: str = "coffee", network: str = OFFLINE):
        super().__init__(photograph, network)
        self.network: networks.Network | None = None
        self.question: compare.Question | None = None
        self.answers: list[compare.Answer] = []
        self.figure: Figure | None = None
        self._known: dict[tuple, compare.Answer] = {}
        self._photograph: str | photographs.Photograph = photograph
        self._stop = threading.Event()
        self._worker, self._loading = Worker("network", "see", "brush", "compare", failed=self._failed), False
        self._watch()
        self._open_network()

    def wait(self, seconds: float | int = 120) -> bool:
        """Waits until everything is answered; False if it takes longer."""
        return self._worker.wait(seconds)

    def _repr_mimebundle_(self, include=None, exclude=None):
        return self.widget._repr_mimebundle_()

    def _watch(self) -> None:
        self.photographs.observe(self._chosen(self._offered), names="value")
        self.upload.observe(self._chosen(self._uploaded), names="count")
        self.names.observe(self._chosen(self._open_network), names="value")
        self.random.on_click(self._chosen(partial(self._open_network, random=True)))
        self.layer.observe(self._chosen(self._ask), names="value")
        self.asked.observe(self._chosen(self._ask), names="value")
        for box in self.methods.values():
            box.observe(self._chosen(self._ticked), names="value")
        self.stop.on_click(self._chosen(self._stopped))
        self.brush.observe(self._chosen(self._painted), names="asked")
        self.substrate.observe(self._chosen(self._painted), names="value")

    def _chosen(self, answer: Callable[[], None]):
        """A callback whose errors become a sentence on the page."""

        def callback(_):
            try:
                answer()
            except Exception as error:
                self._failed(error)

        return callback

    # --- what a person does ---

    def _offered(self) -> None:
        self._photograph = self.photographs.value
        self.notes.value = ""
        self._worker.submit("see", self._see)

    def _uploaded(self) -> None:
        up = self.upload
        if up.bytes > up.most:
            raise ValueError(
                f"{up.name} has {up.bytes / 1e6:.0f} MB, more than the {up.most / 1e6:.0f} that can be sent; make it smaller first"
            )
        self._photograph = photographs.opened(up.name, up.content)
        self._known.clear()
        notes = (f"{up.name} is shown, its middle square.", *self._photograph.notes)
        self.notes.value = note(" ".join(notes))
        self._worker.submit("see", self._see)

    def _open_network(self, random: bool = False) -> None:
        self._stop.set()  # what runs is about the network before
        self.random.layout.display = "none"
        self._worker.submit("network", partial(self._load, self.names.value, random))

    def _ticked(self) -> None:
        chosen = self._methods()
        for name, box in self.methods.items():
            box.disabled = len(chosen) >= MOST and name not in chosen
        self._compare()

    def _stopped(self) -> None:
        self._worker.drop("compare")
        self._stop.set()

    def _painted(self) -> None:
        if self.question:
            self._worker.submit("brush", self._reply)

    # --- what follows from it ---

    def _load(self, name: str, random: bool) -> None:
        try:
            with Clock(lambda seconds: self.say(f"loading {name}: {seconds} s (a first download can take minutes)")):
                self.network = networks.opened(name, random=random)
        except RuntimeError as error:
            self.random.layout.display = ""
            return self._failed(error)
        self._known.clear()
        size, known = self.network.size, len(self.network.classes)
        parameters = sum(parameter.numel() for parameter in self.network.model.parameters())
        self.about.value = note(
            f"{self.network.title}: {parameters / 1e6:.1f} million parameters, {known} classes, pictures of {size} x {size}."
        )
        layers = [
            name.removeprefix("net.") for name, _ in self.network.model.named_modules() if name not in ("", "net")
        ]
        self._loading = True  # the class on the page is one of the network before
        self.layer.options, self.asked.options, self.layer.value = layers, self.network.labels, self.network.layer or ""
        self._loading = False
        self._see()

    def _see(self) -> None:
        """The picture as this network gets it, its best guesses, and the class it likes best."""
        network = self.network
        if network is None:
            return
        shown = photographs.shown(self._photograph, network.size)[None]
        name = self._title
        ask = compare.Question(network, name, shown, 0, self.layer.value or None)
        p = ask.probabilities()
        best = p.topk(min(5, len(p)))
        guesses = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        self.guess({network.labels[number]: f"{network.classes[number]}  {p:.3f}" for number, p in guesses})
        self.brush.set_trait("size", network.size)
        self.brush.title, self.brush.photograph = f"{name}, to paint on", jpeg(shown)
        self.brush.mask = b""
        label = network.labels[best.indices[0]]
        if self.asked.value == label:
            self._ask()
        else:
            self.asked.value = label

    def _ask(self) -> None:
        if self._loading or self.network is None:
            return
        network, name = self.network, self._title
        target, shown = network.class_of(self.asked.value), photographs.shown(self._photograph, network.size)[None]
        self.question = compare.Question(network, name, shown, target, self.layer.value or None)
        self._painted()
        self._compare()

    def _compare(self) -> None:
        if self.question:
            self._worker.submit("compare", partial(self._answer_all, self.question, self._methods()))

    def _methods(self) -> list[str]:
        return [name for name, box in self.methods.items() if box.value]

    def _answer_all(self, question: compare.Question, names: list[str]) -> None:
        self._stop.clear()
        self.save.value, self.stop.disabled = "", False
        self.answers = []
        try:
            for name in names:
                self.answers.append(self._answer(question, name))
                self._show(question)
            if not names:
                self._show(question)
            self._done(question)
        except compare.Stopped:
            self._left_off(len(names))
        finally:
            self.stop.disabled, self.progress.layout.display = True, "none"

    def _answer(self, question: compare.Question, name: str) -> compare.Answer:
        key = name, question.title, id(self._photograph), question.target, question.layer
        if key not in self._known:
            method = METHODS[name]
            seen = 0
            total = (method.pictures or 0) + compare.POINTS + 4

            def tick(pictures: int) -> None:
                nonlocal seen
                if self._stop.is_set() or self._worker.wanted():
                    raise compare.Stopped
                seen += pictures
                self.progress.value = min(seen / total, 1) if method.pictures else 1
                self.say(f"{name}: the network has seen {seen} pictures")

            self.progress.layout.display = ""
            self.say(f"{name}: computing…")
            self._known[key] = compare.answer(question, name, tick)
        return self._known[key]

    def _left_off(self, asked: int) -> None:
        if self._stop.is_set():
            self.say(f"Stopped: {len(self.answers)} of {asked} methods are shown. Tick or untick one to go on.")
        else:  # something more urgent came first: go on after it, with what is ticked by then
            self._compare()

    def _done(self, question: compare.Question) -> None:
        problems = [f"{one.method}: {one.problem}" for one in self.answers if one.problem]
        if problems:
            self.say("; ".join(problems), problem=True)
        else:
            self.say(f"{len(self.answers)} methods for {question.network.classes[question.target]}")
        name = re.sub(r"\W+", "_", f"workbench {question.title} {question.network.classes[question.target]}")
        data = b64encode(png(self.figure)).decode()
        link = f'<a download="{name}.png" href="data:image/png;base64,{data}">Save the picture (PNG)</a>'
        self.save.value = f'<span class="xw-save">{link}</span>'

    def _show(self, question: compare.Question) -> None:
        self.figure = picture(question, self.answers)
        self.picture.value, self.picture.width = self.figure.encoded("jpeg"), str(self.figure.width)
        self.alt.value = note(self.figure.alt)

    def _reply(self) -> None:
        question, asked = self.question, self.brush.asked
        side, mask = question.image.shape[-1], self.brush.mask
        hidden = torch.zeros(side, side)
        if len(mask) == side * side:  # none is there before the first stroke
            hidden = torch.frombuffer(bytearray(mask), dtype=torch.uint8).view(side, side) / 255
        try:
            said = hiding.reply(question, hidden, self.substrate.value)._asdict()
            self.brush.reply = said | {"label": question.network.classes[question.target], "asked": asked}
        except (ValueError, RuntimeError) as error:  # the brush waits for each answer
            self.brush.reply = {"problem": str(error), "asked": asked}

    @property
    def _title(self) -> str:
        return self._photograph if isinstance(self._photograph, str) else self._photograph.name

    def _failed(self, error: Exception) -> None:
        kind = "" if isinstance(error, (ValueError, RuntimeError)) else f"{type(error).__name__}: "
        self.say(f"{kind}{error}", problem=True)
