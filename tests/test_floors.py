"""The house of ARCHITECTURE.md, held by walking the imports of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "ota"

F0 = {"errors", "core", "durable"}
F1 = {
    "formats",
    "quantize",
    "analysis",
    "agent",
    "deltas",
    "remote",
    "lab",
    "report",
    "signing",
    "store",
    "wheels",
}
F2 = {"workflows"}
F3 = {"cli"}
DOOR = {"__main__"}
FLOOR = {room: floor for floor, rooms in enumerate((F0, F1, F2, F3, DOOR)) for room in rooms}

THIRD_PARTY_HOMES = {
    "tensorflow": {"quantize"},
    "numpy": {"quantize", "analysis", "agent", "deltas"},
    "PIL": {"quantize"},
    "flatbuffers": {"quantize"},
    "paramiko": {"remote/ssh.py", "signing"},
    "fabric": {"remote/ssh.py"},
    "distributed": {"remote/scheduler.py"},
    "yaml": {"formats"},
    "pydantic": {"formats"},
    "pydantic_core": {"formats"},
    "cryptography": {"remote/ssh.py", "signing"},
    "model_signing": {"signing"},
    "rich": {"report", "cli"},
    "click": {"cli"},
    "jinja2": {"report"},
    "markupsafe": {"report"},
    "matplotlib": {"report"},
    "tflite_runtime": {"agent"},
    "ai_edge_litert": {"agent", "quantize"},
    "litert_quantizer": {"quantize"},
    "scipy": {"analysis"},
}

CORE_STDLIB = {
    "__future__", "abc", "base64", "collections", "dataclasses", "difflib", "enum", "fnmatch", "functools", "hashlib", "ipaddress",
    "itertools", "json", "math", "operator", "pathlib", "re", "shlex", "string", "struct", "types", "typing",
}  # fmt: skip


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or _room(path) == "agent", f"{path}:{node.lineno}: a relative import"
            if node.level == 0 and node.module == "ota":
                found += [(node.lineno, f"ota.{alias.name}") for alias in node.names]
            elif node.level == 0 and node.module:
                found.append((node.lineno, node.module))
    return found


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_from_the_floors_below(path: Path) -> None:
    """A module imports ota only from its own room and from lower floors, never sideways and never up."""
    room = _room(path)
    assert room in FLOOR, f"{room} has no floor: give it one here and in ARCHITECTURE.md"
    for line, name in _imports(path):
        parts = name.split(".")
        if parts[0] != "ota" or len(parts) == 1:
            continue
        other = parts[1]
        if other in {room, "__version__"}:
            continue
        assert room != "agent", f"{path}:{line}: the agent imports {name}, which a device does not have"
        below = FLOOR[other] < FLOOR[room] or (room == "core" and other == "errors")
        assert below, f"{path}:{line}: {room} (floor {FLOOR[room]}) imports {name} (floor {FLOOR[other]})"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_third_party_package_has_one_home(path: Path) -> None:
    """A third-party package is imported only in the room that knows it, and every one of them is listed."""
    relative = str(path.relative_to(PACKAGE))
    for line, name in _imports(path):
        top = name.split(".")[0]
        if top == "ota" or top in sys.stdlib_module_names or _room(path) == "agent":
            continue
        assert top in THIRD_PARTY_HOMES, f"{relative}:{line}: {top} has no home"
        assert {relative, _room(path)} & THIRD_PARTY_HOMES[top], (
            f"{relative}:{line}: {top} is not at home here"
        )


@pytest.mark.parametrize("path", [p for p in MODULES if _room(p) == "core"], ids=lambda p: p.name)
def test_core_is_pure(path: Path) -> None:
    """Core imports only the listed, effect-free part of the standard library."""
    for line, name in _imports(path):
        top = name.split(".")[0]
        assert top == "ota" or top in CORE_STDLIB, f"{path.name}:{line}: core imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_cli_and_the_agent_print_or_read_the_environment(path: Path) -> None:
    """Outside cli and agent nothing prints, exits, or reads argv or the environment."""
    if _room(path) in {"cli", "agent"}:
        pytest.skip("the rooms that may")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"print", "exit", "input"}, (
                f"{path}:{node.lineno}: calls {node.func.id}"
            )
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            what = f"{node.value.id}.{node.attr}"
            assert what not in {"sys.argv", "sys.exit", "os.environ", "os.getenv"}, (
                f"{path}:{node.lineno}: uses {what}"
            )


@pytest.mark.parametrize("statement", ["import ota", "import ota.cli.main; ota.cli.main.main(['--help'])"])
def test_heavy_packages_are_not_loaded(statement: str) -> None:
    """Importing ota and asking for help load none of the heavy packages."""
    heavy = (
        *("tensorflow", "numpy", "paramiko", "fabric", "rich", "pydantic", "yaml", "PIL"),
        *("matplotlib", "jinja2", "scipy", "cryptography", "distributed", "dask"),
    )
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: sys.stderr.write(repr(sorted(set(sys.modules) & set({heavy!r})))))\n"
        f"{statement}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "[]"
