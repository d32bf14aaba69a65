"""Install a TFLite/LiteRT runtime offline under the ota_root, and prove it by building an Interpreter.

The environment is made in its final place, for it cannot be moved; the marker is written last, so that a folder without one is no runtime.
What the venv module and pip write there is theirs: a runtime proves itself each time it is asked for.
"""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from typing import Any, Dict, List, Optional

from . import blobs, files, policy
from .dialogue import RefusedError, Request

_LAST = 2000
_TIMEOUT_S = 1800
_PROOF = """
import sys
{imports}
interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
interpreter.invoke()
"""
MODULES = {"tflite-runtime": "tflite_runtime.interpreter", "ai-edge-litert": "ai_edge_litert.interpreter"}


def install(root: str, request: Request, *, only_prove: bool = False) -> Dict[str, Any]:
    """Make runtime/<id> from wheels that are here; return its record. One that is there and proves itself is left alone.

    `only_prove` refuses where more than that proof would have to be done.
    """
    folder = os.path.join(root, "runtime", _safe(request["id"]))
    proof = _network(root)
    python = os.path.join(folder, "bin", "python")
    record = {
        "id": request["id"],
        "package": request["package"],
        "version": request["version"],
        "python": python,
        "wheel_sha256": _wheel_sha256(request),
    }
    marker = os.path.join(folder, "proven.json")
    noted = files.read_text(marker)
    if noted and _prove(python, request["package"], proof) is None:
        return dict(record, wheel_sha256=_noted_sha256(noted), changed=False)
    if only_prove:
        raise policy.refusal("the installation of a runtime")
    if os.path.isdir(folder):
        files.remove_tree(folder)
    options = ["--system-site-packages"] if request["system_site_packages"] else []
    _run([sys.executable, "-m", "venv", "--without-pip", *options, folder], "make a virtual environment")
    _install_wheels(root, python, request)
    reason = _prove(python, request["package"], proof)
    if reason is not None:
        files.remove_tree(folder)
        raise RefusedError(
            "proof",
            "%s %s installs but does not run here: %s" % (request["package"], request["version"], reason),
        )
    files.write_file(marker, json.dumps(record, sort_keys=True).encode("utf-8"))
    return dict(record, changed=True)


def _wheel_sha256(request: Request) -> str:
    """Return the digest of the runtime's own wheel among those of the request, empty where it is not among them."""
    own = request["package"].replace("-", "_") + "-"
    for wheel in request["wheels"]:
        if wheel["name"].startswith(own):
            return str(wheel["sha256"])
    return ""


def _noted_sha256(marker: str) -> str:
    """Return the digest that was noted at the installation; older agents noted none."""
    try:
        return str(json.loads(marker)["wheel_sha256"])
    except (ValueError, TypeError, KeyError):
        return ""


def _install_wheels(root: str, python: str, request: Request) -> None:
    """Have pip, from its own wheel, install the others by file: no index, no network."""
    shelf = os.path.join(root, "wheels", "shelf")
    if os.path.isdir(shelf):
        files.remove_tree(shelf)
    files.make_folder(shelf)
    paths = []
    for wheel in request["wheels"]:
        path = os.path.join(shelf, _safe(wheel["name"]))
        files.link_or_copy(blobs.path_of(root, "wheels", wheel["sha256"]), path)
        paths.append(path)
    pip = [path for path in paths if os.path.basename(path).startswith("pip-")]
    if not pip:
        raise RefusedError("bad_request", "no wheel of pip among the wheels")
    rest = [path for path in paths if path not in pip]
    try:
        _run(
            [
                python,
                "-I",
                "-c",
                "import sys; sys.path.insert(0, sys.argv.pop(1)); from pip._internal.cli.main import main; sys.exit(main())",
                pip[0],
                "install",
                "--quiet",
                "--no-index",
                "--no-deps",
                "--no-compile",
                "--no-cache-dir",
                "--disable-pip-version-check",
                *rest,
            ],
            "install the wheels",
        )
    finally:
        files.remove_tree(shelf)


def _network(root: str) -> str:
    """Return the path of a network of two additions, written out of the agent: what an Interpreter is built on as proof."""
    content = pkgutil.get_data(__package__ or "agent", "proof.tflite") or b""
    path = os.path.join(root, "runtime", "proof.tflite")
    files.make_folder(os.path.dirname(path))
    files.write_file(path, content)
    return path


def _prove(python: str, package: str, network: str) -> Optional[str]:
    """Return None where an Interpreter can be built and run, else the reason in the runtime's words."""
    code = _PROOF.format(imports="from %s import Interpreter" % MODULES[package])
    try:
        done = subprocess.run(
            [python, "-I", "-c", code, network],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        return "killed by signal %d" % -done.returncode
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "exit code %d" % done.returncode


def _run(argv: List[str], what: str) -> None:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RefusedError("install", "cannot %s: %s" % (what, error)) from error
    if done.returncode:
        said = done.stdout.decode("utf-8", "replace").strip()[-_LAST:]
        raise RefusedError("install", "cannot %s: %s" % (what, said or "exit code %d" % done.returncode))


def _safe(name: str) -> str:
    if not name or "/" in name or name.startswith("."):
        raise RefusedError("bad_request", "not a file name: %r" % name)
    return name
