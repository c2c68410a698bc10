"""The house: who may import whom, how large a module grows, where the environment is read."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for top in ("app", "model", "training") for path in (ROOT / top).rglob("*.py")
)
TOOLS = sorted(
    path for top in ("benchmarks", "docker", "testbed") for path in (ROOT / top).rglob("*.py")
)
PURE = (
    "mode",
    "persona",
    "prompt",
    "reply",
    "reading",
    "maths",
    "decision",
    "card",
    "errors",
    "engine",
)
ALLOWED_IN_PURE = {"pydantic", "model"}
HTTP = {"app.http", "fastapi", "starlette", "uvicorn"}
REDIS = {"app.redis", "redis"}
OF_ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
ENVIRONMENT = {
    "app.settings": "reads the gateway's settings",
    "app.serve.child": "a child inherits it",
    "app.serve.engine": "the engine inherits it",
    "app.serve.gateway": "the gateway inherits it",
    "training.processes": "reads what torchrun tells each process",
    "training.data.cli": "reads the key whose variable a recipe names",
    "training.cpu": "writes what torch looks at",
}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "base", "manager", "core"}
MAX_MODULE_LINES, MAX_FUNCTION_LINES, MAX_RECIPE_LINES = 300, 60, 120


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


MODULES = {name_of(path).removesuffix(".__init__"): path for path in SOURCES}


@cache
def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= named & MODULES.keys()
    return found


def reached(path: Path) -> dict[str, str]:
    """All that an import of a module imports, and by which of our modules; its own come first."""
    found: dict[str, str] = {}
    waiting = [path]
    while waiting:
        through = waiting.pop(0)
        for name in imports(through) - found.keys():
            found[name] = name_of(through)
            if name in MODULES:
                waiting.append(MODULES[name])
    return found


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_layers_never_look_up_or_sideways(path: Path) -> None:
    """app and training do not know each other; model knows neither."""
    top = path.relative_to(ROOT).parts[0]
    forbidden = {"app": {"training"}, "training": {"app"}, "model": {"app", "training"}}[top]
    assert not tops(path) & forbidden


@pytest.mark.parametrize("path", [*SOURCES, *TOOLS], ids=name_of)
def test_what_is_built_and_measured_needs_no_tests(path: Path) -> None:
    """Tools stand on the product and on the testbed; the product knows neither."""
    tools = {"benchmarks", "docker", "testbed"} if path in SOURCES else set()
    if path.is_relative_to(ROOT / "testbed"):
        tools = {"benchmarks", "docker", "training"}
    assert not tops(path) & {"tests", *tools}


@pytest.mark.parametrize("path", sorted((ROOT / "app").rglob("*.py")), ids=name_of)
def test_rules_know_neither_http_nor_redis(path: Path) -> None:
    """What a request means is said without saying how it came or where things lie, be it by
    what is imported of others."""
    package = name_of(path).split(".")[1] if path.parent.name != "app" else path.stem
    foreign = {"access": HTTP | REDIS, "redis": HTTP}
    foreign |= dict.fromkeys(("chat", "shadow", "personas", "cache", "store"), HTTP | REDIS)
    found = reached(path)
    for name in foreign.get(package, ()):
        ways = {to: by for to, by in found.items() if to == name or to.startswith(f"{name}.")}
        assert not ways


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_need_the_standard_library_alone(name: str) -> None:
    """What trainer, gate and gateway share drags nothing in."""
    import sys

    outside = tops(ROOT / "model" / f"{name}.py") - set(sys.stdlib_module_names)
    assert outside <= ALLOWED_IN_PURE


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_modules_and_functions_stay_small(path: Path) -> None:
    """A module has up to 300 lines, a function up to 60, a recipe's loop up to 120."""
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_MODULE_LINES
    limit = MAX_RECIPE_LINES if path.parts[-2] == "training" else MAX_FUNCTION_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < limit, node.name


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_module_opens_with_what_it_is(path: Path) -> None:
    """A docstring first; and no file is named for what does not fit elsewhere."""
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert path.stem not in FORBIDDEN_NAMES


def test_few_modules_touch_the_environment() -> None:
    """Settings of the gateway come from `app.settings`; each other one is here for its reason."""
    assert {name_of(path) for path in SOURCES if touches_environment(path)} == ENVIRONMENT.keys()


@pytest.mark.parametrize(
    "text",
    [
        "import os; os.environ.get('A', '')",
        "import os; os.getenv('A')",
        "import os as system; system.environ['A']",
        "from os import environ",
        "from os import getenv as read",
        "import os; os.putenv('A', 'b')",
    ],
)
def test_however_it_is_written(text: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(text)
    assert touches_environment(path)


def touches_environment(path: Path) -> bool:
    """Whether a module reads the environment, writes it or hands it on."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            names |= {alias.name for alias in node.names}
    return bool(names & OF_ENVIRONMENT)


def test_no_import_cycles() -> None:
    """Following imports inside the project never leads back."""
    graph = {
        name: {target for target in imports(path) if target in MODULES and target != name}
        for name, path in MODULES.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for target in graph[name]:
                visit(target, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())
