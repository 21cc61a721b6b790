"""Python runs this at its start in test_lessons.py: no internet, and at the end it tells what it took."""

import atexit
import os
import sys
import time
from pathlib import Path

LOCAL = ("localhost", "127.0.0.1", "::1", "", None)


def refuse(event: str, arguments: tuple) -> None:
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event == "socket.getaddrinfo":
        host = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
    else:
        return
    if host not in LOCAL:
        raise OSError(f"a lesson must run without the internet, but this one asked for {host}")


def tell_cost() -> None:
    """Peak memory in bytes, and seconds of processor time.

    Linux counts the peak of this process alone in VmHWM; `ru_maxrss` starts from the parent's size there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        peak = int(line.split()[1]) * 1024
    else:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
    Path(target).write_text(f"{peak} {time.process_time()}")


sys.addaudithook(refuse)
target = os.environ.pop("XAILIB_COST", None)  # not for the processes this one starts
if target:
    atexit.register(tell_cost)
