"""The style rules that a machine can check: layers, purity of the core, names, sizes, a test for each module.

The layers are those of docs/design.md. The rules name packages and never single files, except where a module stands
directly in `twistedkv/` and does not belong to the values.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "twistedkv"

LAYERS = ["values", "wire", "core", "storage", "net", "service", "client", "line", "plugin"]
"""From the bottom. A module imports from its own layer and those before it."""

ROOMS = {
    "messages": "values",
    "wire": "wire",
    "core": "core",
    "storage": "storage",
    "storage.interface": "values",  # what the core asks of a store: types only
    "mapstore": "storage",
    "net": "net",
    "service": "service",
    "failpoints": "service",
    "recording": "client",
    "line": "line",
    "simulation": "plugin",
    "torture": "plugin",
    "client": "client",
    "blocking": "client",
    "backup": "client",
    "cli": "plugin",
    "shell": "plugin",
    "tap": "plugin",
}
"""What stands in `twistedkv/` and is not named here is of the values."""

PURE = ["values", "wire", "core"]
"""These never import Twisted."""

LINES_MAX = 400

FORBIDDEN_WORDS = {
    "handler",
    "processor",
    "manager",
    "engine",
    "util",
    "utils",
    "utility",
    "utilities",
    "helper",
    "helpers",
}

IMPURE = {"time", "random", "uuid", "secrets", "socket", "select", "selectors", "threading", "asyncio", "subprocess"}
"""Modules that the core does not import: what it needs of time and chance is given to it."""

UNTESTED = {
    "twistedkv.messages": "values without behaviour; every one of them goes through tests/wire/test_messages.py",
}
"""Packages whose modules need no test that imports them, and why."""

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
every_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))


def name_of(path: Path) -> str:
    """The module's dotted name."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(name: str) -> str:
    """The layer of a module of this package, by its dotted name."""
    parts = name.split(".")
    rooms = [ROOMS[place] for place in (".".join(parts[1:3]), ".".join(parts[1:2])) if place in ROOMS]
    return rooms[0] if rooms else "values"


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def names_imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all imports, also those inside functions; of `from a import b` both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def without_type_imports(tree: ast.Module) -> ast.Module:
    """The same without what only a type checker executes."""

    class _Without(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    return _Without().visit(tree)


def outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes that are executed when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from outside_functions(node)


def words_of(name: str) -> set[str]:
    """The words of an identifier in snake_case or CamelCase, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


@every_module
def test_imports_go_down_only(path: Path) -> None:
    own = layer_of(name_of(path))
    for imported in names_imported(without_type_imports(tree_of(path))):
        if imported.startswith("twistedkv."):
            layer = layer_of(imported)
            assert LAYERS.index(layer) <= LAYERS.index(own), f"{own} imports {imported}, of {layer}"


@pytest.mark.parametrize("path", [path for path in MODULES if layer_of(name_of(path)) in PURE], ids=name_of)
def test_values_wire_and_core_do_not_name_twisted(path: Path) -> None:
    assert not [name for name in names_imported(tree_of(path)) if name.split(".")[0] in ("twisted", "zope")]


def test_values_wire_and_core_do_not_load_twisted() -> None:
    names = [name_of(path) for path in MODULES if layer_of(name_of(path)) in PURE]
    program = """
import sys, importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
print("twisted" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *names], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("False", "")


@every_module
def test_the_reactor_is_not_imported_with_a_module(path: Path) -> None:
    for node in outside_functions(tree_of(path)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            wrapped = ast.Module([node], [])
            assert "twisted.internet.reactor" not in set(names_imported(wrapped)), f"line {node.lineno}"


@pytest.mark.parametrize("path", [path for path in MODULES if layer_of(name_of(path)) == "core"], ids=name_of)
def test_the_core_has_no_clock_no_chance_and_no_input(path: Path) -> None:
    tree = tree_of(path)
    imported = {name.split(".")[0] for name in names_imported(tree)}
    assert not imported & IMPURE
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"os.urandom", "datetime.now", "datetime.datetime.now", "open", "print", "input"}


@every_module
def test_a_module_is_not_too_long(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= LINES_MAX, f"{lines} lines: find the seam"


@every_module
def test_names_say_what_a_thing_is(path: Path) -> None:
    named = [path.stem, path.parent.name]
    named += [node.name for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)]
    assert not [name for name in named if words_of(name) & FORBIDDEN_WORDS]


@every_module
def test_modules_and_public_classes_say_what_they_are(path: Path) -> None:
    tree = tree_of(path)
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name


def covered_by(tree: ast.Module) -> list[str]:
    """The module-level `COVERS` of a test module: modules that it drives and does not import."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COVERS":
            names: list[str] = ast.literal_eval(node.value)
            return names
    return []


TEST_TREES = [tree_of(path) for path in (ROOT / "tests").rglob("*.py") if "__pycache__" not in path.parts]


@pytest.fixture(scope="module")
def names_in_tests() -> set[str]:
    """All that any test module imports, or says that it covers."""
    return {name for tree in TEST_TREES for name in [*names_imported(tree), *covered_by(tree)]}


@every_module
def test_each_module_has_a_test(path: Path, names_in_tests: set[str]) -> None:
    """One of its own name in the same place under tests/, or another that imports it by name.

    A module that only runs in a process of its own is named in the `COVERS` of the test module that starts it.
    """
    name = name_of(path)
    if path.stem in ("__init__", "__main__", "interface") or any(name.startswith(free + ".") for free in UNTESTED):
        return
    own = ROOT / "tests" / path.relative_to(PACKAGE).with_name(f"test_{path.name}")
    if not own.exists() and name not in names_in_tests:
        pytest.fail(f"{own.relative_to(ROOT)} is missing, or another test that imports {name}", pytrace=False)


def test_what_tests_say_that_they_cover_exists() -> None:
    assert {name for tree in TEST_TREES for name in covered_by(tree)} <= {name_of(path) for path in MODULES}


def test_the_plugin_holds_strings_and_nothing_else() -> None:
    [plugin] = (ROOT / "twisted" / "plugins").glob("*.py")
    assert set(names_imported(tree_of(plugin))) == {
        "twisted.application.service",
        "twisted.application.service.ServiceMaker",
    }
    assert not (ROOT / "twisted" / "__init__.py").exists()
    assert not (plugin.parent / "__init__.py").exists()


def test_these_rules_see_what_they_forbid() -> None:
    assert words_of("RequestHandler") & FORBIDDEN_WORDS
    assert words_of("http_utils") & FORBIDDEN_WORDS
    assert not words_of("Managed") & FORBIDDEN_WORDS
    tree = ast.parse("def f():\n    from twisted.internet import reactor\n")
    assert "twisted.internet.reactor" in set(names_imported(tree))
    assert not [node for node in outside_functions(tree) if isinstance(node, ast.ImportFrom)]
