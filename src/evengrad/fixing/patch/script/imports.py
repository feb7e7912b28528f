"""How a script writes the names of its framework, and which import it lacks."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script.source import Source, canonical

_FRAMEWORKS = {"keras", "tensorflow", "torch"}


def spell(source: Source, name: str) -> str | None:
    """The shortest way to write a name with the script's own imports; None where there is none."""
    found = [
        local + name[len(meaning) :]
        for local, meaning in _bound(source)
        if name == meaning or name.startswith(f"{meaning}.")
    ]
    return min(found, key=lambda code: code.count("."), default=None)


def missing(source: Source, name: str) -> tuple[str, str]:
    """The import that a script lacks for a name, and how to write the name then."""
    root, _, rest = name.partition(".")
    tensorflow = any(_module(n).startswith("tensorflow.keras") for n in source.all(cst.ImportFrom))
    if root == "keras" and tensorflow:
        return "from tensorflow import keras", name
    return f"import {root}", f"{root}.{rest}"


def import_place(source: Source) -> cst.SimpleStatementLine | None:
    """The statement beside which an import belongs: the framework's first import, for what stands before it
    may have to run first (``os.environ["KERAS_BACKEND"] = "jax"``); else the last import at the top.
    """
    found: cst.SimpleStatementLine | None = None
    for statement in source.module.body:
        if is_framework(statement) and isinstance(statement, cst.SimpleStatementLine):
            return statement
    for statement in source.module.body:
        if not isinstance(statement, cst.SimpleStatementLine):
            break
        first = statement.body[0]
        docstring = isinstance(first, cst.Expr) and isinstance(first.value, cst.SimpleString)
        if not docstring and not isinstance(first, cst.Import | cst.ImportFrom):
            break
        found = statement
    return found


def is_framework(statement: cst.CSTNode) -> bool:
    """Whether it is an import of a framework."""
    if not isinstance(statement, cst.SimpleStatementLine):
        return False
    first = statement.body[0]
    if isinstance(first, cst.ImportFrom):
        return _module(first).partition(".")[0] in _FRAMEWORKS
    names = first.names if isinstance(first, cst.Import) else ()
    return any(alias.evaluated_name.partition(".")[0] in _FRAMEWORKS for alias in names)


def _bound(source: Source) -> Iterator[tuple[str, str]]:
    """What each import of the module, and each alias of one, is called and means."""
    for statement in source.all(cst.SimpleStatementLine):
        if source.around(statement, cst.FunctionDef) or source.around(statement, cst.ClassDef):
            continue
        for small in statement.body:
            if isinstance(small, cst.Import):
                yield from _import(small)
            elif isinstance(small, cst.ImportFrom) and not isinstance(small.names, cst.ImportStar):
                for alias in small.names:
                    yield _local(alias), canonical(f"{_module(small)}.{alias.evaluated_name}")
            elif isinstance(small, cst.Assign) and isinstance(small.value, cst.Attribute):
                target = small.targets[0].target
                if isinstance(target, cst.Name) and (meaning := source.name(small.value)):
                    yield target.value, meaning


def _import(statement: cst.Import) -> Iterator[tuple[str, str]]:
    for alias in statement.names:
        name = alias.evaluated_name if alias.asname else alias.evaluated_name.split(".")[0]
        local = _local(alias) if alias.asname else name
        yield local, canonical(name)
        if name == "tensorflow":
            yield f"{local}.keras", "keras"


def _local(alias: cst.ImportAlias) -> str:
    return alias.evaluated_alias or alias.evaluated_name


def _module(statement: cst.ImportFrom) -> str:
    return "" if statement.module is None else cst.Module([]).code_for_node(statement.module)
