"""The widget of a lesson by itself: its cell, and of the cells before it those whose names it needs.

This is what makes it cheap enough to open every widget in a browser on every change. It is good for that only: a cell
that alters an object without naming it as its own (a training, say) may be left out, so numbers can differ from the
lesson's. Whole lessons in the browser: `make widgets`.
"""

import ast
from pathlib import Path
from symtable import SymbolTable, symtable

import nbformat


def widget_of(notebook: Path):
    """The widget that the notebook's last cell with an Explorer shows, made from as few of its cells as possible."""
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    codes = [cell.source for cell in cells if "test" not in cell.metadata.get("tags", ())]
    at = max(number for number, code in enumerate(codes) if "Explorer(" in code)
    *before, shown = ast.parse("\n".join(needed(codes[: at + 1]))).body
    names = {}
    exec(compile(ast.Module(before, []), notebook.name, "exec"), names)
    return eval(compile(ast.Expression(shown.value), notebook.name, "eval"), names)


def needed(codes: list[str]) -> list[str]:
    """The last of the cells, and those before it that bind or alter a name which a cell already chosen uses."""
    modules = {symbol.get_name() for code in codes for symbol in _top(code).get_symbols() if symbol.is_imported()}
    chosen, wanted = [], None
    for code in reversed(codes):
        if wanted is None or wanted & (_bound(code) | _altered(code) - modules):
            chosen.insert(0, code)
            wanted = (wanted or set()) | _used(_top(code))
    return chosen


def _top(code: str) -> SymbolTable:
    return symtable(code, "cell", "exec")


def _bound(code: str) -> set[str]:
    return {one.get_name() for one in _top(code).get_symbols() if one.is_assigned() or one.is_imported()}


def _used(table: SymbolTable) -> set[str]:
    """The names of the notebook that a cell uses, also inside of its functions."""
    top = table.get_type() == "module"
    found = {one.get_name() for one in table.get_symbols() if (one.is_referenced() if top else one.is_global())}
    return found.union(*(_used(inside) for inside in table.get_children()))


def _altered(code: str) -> set[str]:
    """Names whose objects a cell changes in place: a.b = ..., a[b] = ..., and a.method(...) as a statement."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            found |= _roots(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            found |= _roots(node.value.func)
    return found


def _roots(node: ast.AST) -> set[str]:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return {node.id} if isinstance(node, ast.Name) else set()
