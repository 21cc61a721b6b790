"""What shuts a student's process in: limits, Landlock for files, and seccomp for network and other processes.

Both are features of the Linux kernel that any process can apply to itself, for good, without rights and without
programs to install; they work in a container too. `close_in` says what this kernel granted, `probe` tries it.
"""

import ctypes
import os
import resource
import socket
import struct
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from xailib.grading import seccomp

FILES, NETWORK, PROCESSES = "files", "network", "processes"
ALL = frozenset({FILES, NETWORK, PROCESSES})
ROOT = Path(__file__).resolve().parents[2]
SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/fonts", "/usr/share/zoneinfo", "/usr/share/datasets")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/etc/ld.so.cache", "/etc/localtime", "/etc/fonts")
MACHINE = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu")

_libc = ctypes.CDLL(None)
_libc.syscall.restype = ctypes.c_long
_NO_NEW_PRIVILEGES, _DUMPABLE, _DIES_WITH_PARENT = 38, 4, 1  # of prctl
_RULESET, _RULE, _RESTRICT = 444, 445, 446  # Landlock's system calls, the same on all machines
_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_FILE, _TRUNCATE = (1 << bit for bit in (1, 2, 3, 5, 8, 14))
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many rights each version knows; later ones 16


def readable() -> list[Path]:
    """The folders a student's process may read, beside its own: Python, its packages, the course's code and tables."""
    ours = [ROOT / "xailib", ROOT / "results"]
    python = [Path(prefix) / "lib" for prefix in (sys.prefix, sys.base_prefix)]
    packages = [Path(path) for name, path in sysconfig.get_paths().items() if name.endswith("lib")]
    paths = [Path(path) for path in sys.path if path and Path(path).resolve() not in (ROOT, Path.cwd())]
    return [path for path in (*ours, *python, *packages, *paths, *map(Path, SYSTEM)) if path.is_dir()]


def guard() -> None:
    """No other process of the same user can look into this one, and it ends with the one that started it."""
    _libc.prctl(_DUMPABLE, 0, 0, 0, 0)
    _libc.prctl(_DIES_WITH_PARENT, 9, 0, 0, 0)


def limit_memory(memory: int) -> None:
    """So many bytes more than this process has now, for what it writes to and for its addresses."""
    used = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    for name, spare, limit in (("VmData", 0, resource.RLIMIT_DATA), ("VmSize", 2**30, resource.RLIMIT_AS)):
        _lower(limit, int(used[name].split()[0]) * 1024 + memory + spare)


def _lower(limit: int, most: int) -> None:
    """Sets a limit, for good; one that is lower already stays."""
    _, hard = resource.getrlimit(limit)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(limit, (most, most))


def close_in(scratch: Path, *, seconds: int) -> frozenset[str]:
    """Shuts this process in, for good, and says in what: a subset of ALL. It can write into `scratch` only."""
    for limit, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 64 * 2**20),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        _lower(limit, most)
    _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    closed = {FILES} if _landlock(scratch) else set()
    if seccomp.apply(_libc):
        closed |= {NETWORK, PROCESSES}
    return frozenset(closed)


def _landlock(scratch: Path) -> bool:
    version = _call(_RULESET, None, 0, 1)
    if version < 1:
        return False
    every = (1 << _RIGHTS.get(version, 16)) - 1
    rules = _call(_RULESET, struct.pack("QQ", every, 0), 8, 0)
    for path in (*readable(), *map(Path, DEVICES + MACHINE)):
        _allow(rules, path, _READ_FILE | _READ_DIR)
    _allow(rules, Path("/dev/null"), _READ_FILE | _WRITE_FILE)
    mine = _READ_FILE | _READ_DIR | _WRITE_FILE | _REMOVE_FILE | _MAKE_FILE | _TRUNCATE
    _allow(rules, scratch, mine & every)  # files, but no folders in it: it stays easy to clear
    done = _call(_RESTRICT, rules, 0) == 0
    os.close(rules)
    return done


def _allow(rules: int, path: Path, rights: int) -> None:
    if not path.exists():
        return
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not path.is_dir():
        rights &= _READ_FILE | _WRITE_FILE | _TRUNCATE
    _call(_RULE, rules, 1, struct.pack("=Qi", rights, place), 0)
    os.close(place)


def _call(number: int, *arguments) -> int:
    return _libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in (number, *arguments)))


def probe(scratch: Path) -> frozenset[str]:
    """What a process that was shut in on this machine indeed cannot do, tried in one: a subset of ALL."""
    attempts: dict[str, Callable] = {FILES: lambda: os.listdir("/"), NETWORK: socket.socket, PROCESSES: os.fork}
    outer, inner = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        close_in(scratch, seconds=10)
        refused = [name for name, attempt in attempts.items() if _refused(attempt)]
        if os.getppid() == parent:  # not in a process that the attempt made
            os.write(inner, " ".join(refused).encode())
        os._exit(0)
    os.close(inner)
    with open(outer) as said:
        found = frozenset(said.read().split())
    os.waitpid(child, 0)
    return found


def _refused(attempt: Callable) -> bool:
    try:
        attempt()
    except PermissionError:
        return True
    return False
