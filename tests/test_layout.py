"""The house keeps its shape: where things stand, what they are called, what they may name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "evengrad"
FRAMEWORKS = ("torch", "keras", "jax")
DOORS = {  # door: what the stages above call, the same in each adapter: function, what it takes
    "probe": {"probe": ["model", "loss", "batch", "optimizer", "rate", "precise"]},
    "script": {"arm": ["session"]},
    "describe": {"describe": ["model", "inputs"], "abstract": ["factory"]},
    "watch": {"watch": ["model", "optimizer", "settings"]},
    "live": {"arm": ["session"]},
    "inquiry": {"arm": ["session"]},
    "trying": {"arm": ["session"]},
}


@cache
def trees() -> dict[str, ast.Module]:
    """Path below the package: its syntax tree."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        found[name] = ast.parse(path.read_text(encoding="utf-8"), name)
    return found


def listed(found: Iterable[str]) -> None:
    """Fail with one line for each."""
    lines = list(found)
    assert not lines, "\n" + "\n".join(lines)


def test_the_root_is_small():
    built = {"__pycache__", "py.typed", "_bundle"}
    entries = {path.name for path in PACKAGE.iterdir()} - built
    rooms = {name for name in entries if not name.startswith("__")}
    assert len(rooms) <= 13, sorted(rooms)


# --- names ------------------------------------------------------------------------------------------


def _aliases(tree: ast.Module) -> Iterator[str]:
    """Names of types that a module makes: ``Status = Literal[...]``, ``Change = A | B``."""
    for node in tree.body:
        target = None
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript | ast.BinOp):
            target = node.targets[0]
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
            target = node.target
        if isinstance(target, ast.Name) and re.fullmatch(r"_?[A-Z]\w*[a-z]\w*", target.id):
            yield target.id


def test_no_two_classes_of_one_name():
    """Nor two type aliases; ``_Plan`` is ``Plan`` to whoever reads both."""
    places: dict[str, list[str]] = {}
    for path, tree in trees().items():
        classes = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        for name in [*classes, *_aliases(tree)]:
            places.setdefault(name.lstrip("_"), []).append(path)
    twice = {name: where for name, where in places.items() if len(where) > 1}
    listed(f"{name}: {', '.join(where)}" for name, where in twice.items())


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("door", DOORS)
def test_both_adapters_have_the_same_doors(door, framework):
    """Whoever goes through one knows no framework; what a framework adds besides has a default."""
    offered = {}
    for node in trees()[f"adapters/{framework}/{door}.py"].body:
        if isinstance(node, ast.FunctionDef) and node.name in DOORS[door]:
            named = [*node.args.posonlyargs, *node.args.args]
            defaults = [None] * (len(named) - len(node.args.defaults)) + node.args.defaults
            given = [
                *zip(named, defaults, strict=True),
                *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
            ]
            offered[node.name] = [
                argument.arg.lstrip("_")
                for argument, default in given
                if default is None or argument.arg in DOORS[door][node.name]
            ]
    assert offered == DOORS[door]


# --- what may be named where ------------------------------------------------------------------------

PYTHON_S = {"_asdict", "_fields", "_replace", "_make", "_exit", "_getframe"}  # and documented


def _docstrings(tree: ast.Module) -> set[int]:
    """Ids of the constants that document a module, a class, a function or a field."""
    holders = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return {
        id(node.value)
        for holder in ast.walk(tree)
        if isinstance(holder, holders)
        for node in holder.body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def _strings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Whole ones, not parts that are put together, nor documentation."""
    skipped = _docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr | ast.BinOp):
            skipped |= {id(part) for part in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in skipped
        ):
            yield node


def _private(name: str) -> bool:
    return re.fullmatch(r"_[A-Za-z]\w*", name) is not None


def _ours(tree: ast.Module) -> Iterator[str]:
    """Every name that a module makes: definitions, fields, what is assigned, arguments, modules."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store(), value=ast.Name(id="self" | "cls")):
                yield name


def _named(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of what a module reads: attributes, imports, and names given as strings."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name):
                yield node.lineno, name
            case ast.ImportFrom(module=module, names=names):
                for name in [*(module or "").split("."), *(alias.name for alias in names)]:
                    yield node.lineno, name
            case ast.Import(names=names):
                for alias in names:
                    for name in alias.name.split("."):
                        yield node.lineno, name
    for constant in _strings(tree):
        if re.fullmatch(r"[A-Za-z_][\w.]*", constant.value):
            for name in constant.value.split("."):
                yield constant.lineno, name


def test_private_names_of_frameworks_stand_in_compat_alone():
    """A name that begins with _ and that nothing of ours makes is somebody else's."""
    ours = {name for tree in trees().values() for name in _ours(tree)} | PYTHON_S
    ours |= {part for path in trees() for part in path.removesuffix(".py").split("/")}
    strangers = [
        f"{path}:{line}: {name}"
        for path, tree in trees().items()
        if Path(path).name != "compat.py"
        for line, name in sorted(set(_named(tree)))
        if _private(name) and name not in ours and "evengrad" not in name
    ]
    listed(strangers)


def test_keras_insides_stand_in_compat_alone():
    inside = re.compile(r"\bkeras\.src\b")
    found = []
    for path, tree in trees().items():
        if Path(path).name == "compat.py":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom | ast.Import | ast.Attribute):
                text = ast.unparse(node)
                if inside.search(text):
                    found.append(f"{path}:{node.lineno}: {text}")
        found += [
            f"{path}:{constant.lineno}: {constant.value!r}"
            for constant in _strings(tree)
            if inside.search(constant.value)
        ]
    listed(found)


def test_codes_of_rules_stand_in_rules_alone():
    """Rules and remedies meet through causes; a code is what a reader sees, not what we decide by."""
    code = re.compile(r"EG\d{1,3}")
    rooms = ("diagnosis/rules/", "diagnosis/run_rules/", "diagnosis/fact_rules/")
    found = [
        f"{path}:{constant.lineno}: {constant.value!r}"
        for path, tree in trees().items()
        if not path.startswith(rooms)
        for constant in _strings(tree)
        if code.fullmatch(constant.value)
    ]
    listed(found)


def test_nothing_refers_to_what_does_not_ship():
    absent = re.compile(r"\b(THEORY|PEERS|AUDIT|DESIGN\.md)\b|\bshared/|article\.zh")
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    folders = [PACKAGE, ROOT / "docs", ROOT / "examples"]
    pages += [path for folder in folders for path in sorted(folder.rglob("*"))]
    found = []
    for path in pages:
        if path.suffix in {".py", ".md", ".j2", ".html"} and "__pycache__" not in path.parts:
            lines = path.read_text(encoding="utf-8").splitlines()
            found += [
                f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
                for number, line in enumerate(lines, 1)
                if absent.search(line)
            ]
    listed(found)


# --- circles ----------------------------------------------------------------------------------------


@cache
def graph() -> grimp.ImportGraph:
    """What imports what, in the package and in the benches."""
    benches = [f"bench.{path.name}" for path in (ROOT / "bench").iterdir() if _is_package(path)]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        return grimp.build_graph("evengrad", *benches, cache_dir=None)


def _is_package(path: Path) -> bool:
    return (path / "__init__.py").exists()


def test_no_room_has_a_circle():
    """In each room the files, and the rooms inside, with what is in them, import one way."""
    circles = []
    for room in sorted(graph().modules):
        children = graph().find_children(room)
        arrows = {
            child: {other for other in children - {child} if _reads(child, other)}
            for child in children
        }
        try:
            TopologicalSorter(arrows).prepare()
        except CycleError as error:
            circles.append(" -> ".join(reversed(error.args[1])))
    listed(circles)


def _reads(room: str, other: str) -> bool:
    return graph().direct_import_exists(importer=room, imported=other, as_packages=True)
