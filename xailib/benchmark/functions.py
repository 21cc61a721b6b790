"""Methods and metrics are plain functions: which of them are asked for, what they want to know, and what they are called.

A function gets what its parameters name. A parameter with a default keeps it, unless the default is None.
"""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from functools import partial

Functions = str | Sequence[str] | Mapping[str, Callable]


def chosen(
    kind: str, asked: Functions, known: Mapping[str, Callable], every: Mapping[str, Callable]
) -> dict[str, Callable]:
    """The functions asked for, by name: some that are `known`, `every` one for "all", or the given ones themselves.

    Raises ValueError for an unknown name.
    """
    if isinstance(asked, Mapping):
        return dict(asked)
    names = [asked] if isinstance(asked, str) else list(asked)
    if names == ["all"]:
        return dict(every)
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"no {kind} {name!r}; {hint}known are all, {', '.join(known)}")
    return {name: known[name] for name in names}


def fill(name: str, function: Callable, options: Mapping[str, object]) -> Callable:
    """The function with these options filled in. Raises ValueError for options that it does not have."""
    parameters = inspect.signature(function).parameters
    unknown = [option for option in options if option not in parameters]
    if unknown and not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        raise ValueError(f"{name} has no option {unknown[0]!r}; it has {', '.join(parameters)}")
    return partial(function, **options) if options else function


def wants(function: Callable, offers: Collection[str]) -> list[str]:
    """Which of the offers a function takes."""
    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if one.name in offers and (one.default is one.empty or one.default is None)]


def check_wants(name: str, function: Callable, offers: Collection[str]) -> None:
    """Raises ValueError if a function needs what is not offered."""
    for one in inspect.signature(function).parameters.values():
        named = one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        if named and one.default is one.empty and one.name not in offers:
            raise ValueError(f"{name} asks for {one.name!r}, which is none of {', '.join(offers)}; give it a default")


def described(part: object) -> str:
    """A function by its name and what has been filled in, for the record."""
    if isinstance(part, partial):
        filled = [*map(described, part.args), *(f"{name}={described(value)}" for name, value in part.keywords.items())]
        return f"{described(part.func)}({', '.join(filled)})"
    return getattr(part, "__qualname__", None) or repr(part)
