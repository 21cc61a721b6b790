"""One thread for all that takes time, so that controls stay alive and no two jobs touch the network at once."""

import threading
import time
from collections.abc import Callable


class Worker:
    """Runs jobs one by one, the most urgent first. A job that waits is replaced by a newer one of the same kind.

    `kinds` lists them from the most to the least urgent. A job is a function without arguments; `failed` is told of its
    errors. `wanted()` tells a running job that it should make room.
    """

    def __init__(self, *kinds: str, failed: Callable[[Exception], None]):
        self._failed = failed
        self._waiting: dict[str, Callable | None] = dict.fromkeys(kinds)
        self._running: str | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def submit(self, kind: str, job: Callable[[], None]) -> None:
        with self._changed:
            self._waiting[kind] = job
            self._changed.notify_all()

    def drop(self, kind: str) -> None:
        """Forgets the job of a kind that has not begun."""
        with self._changed:
            self._waiting[kind] = None

    def wanted(self) -> bool:
        """Whether a job is waiting that is at least as urgent as the one that runs."""
        kinds = list(self._waiting)
        return any(self._waiting[kind] for kind in kinds[: kinds.index(self._running) + 1])

    def wait(self, seconds: float | int = 60) -> bool:
        """Waits until there is nothing to do; False if there still is something."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running and not any(self._waiting.values()), seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: any(self._waiting.values()))
                self._running = next(kind for kind, job in self._waiting.items() if job)
                job, self._waiting[self._running] = self._waiting[self._running], None
            try:
                job()
            except Exception as error:
                self._failed(error)
            finally:
                with self._changed:
                    self._running = None
                    self._changed.notify_all()


class Clock:
    """Tells each second how many have passed, while the `with` block runs."""

    def __init__(self, tell: Callable[[int], None]):
        self._tell, self._over, self._start = tell, threading.Event(), time.monotonic()

    def __enter__(self):
        threading.Thread(target=self._run, daemon=True).start()

    def __exit__(self, *_):
        self._over.set()

    def _run(self):
        while not self._over.is_set():
            self._tell(round(time.monotonic() - self._start))
            self._over.wait(1)
