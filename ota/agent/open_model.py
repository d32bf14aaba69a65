"""Open the model of this release as it was measured: under the same runtime, with the same number of threads.

Every release holds this file beside its model. An application on the device needs two lines:

    import runpy
    interpreter = runpy.run_path("<ota_root>/current/open_model.py")["open_model"]()

What it gets is an allocated Interpreter. Which release that is, is settled when this file is run: an activation in between changes nothing.
A release that nobody had confirmed before the machine was restarted is not opened: the one before it is, whether or not the device has gone back yet.
"""

from __future__ import annotations

import glob
import importlib
import json
import os
import sys
from typing import Any, Dict, List

MODULES = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}


def _release() -> str:
    """Return the folder of this release, or of the one before where this one's trial ended with a restart of the machine."""
    own = os.path.dirname(os.path.realpath(__file__))
    releases = os.path.dirname(own)
    try:
        with open(os.path.join(os.path.dirname(releases), "pending.json"), encoding="utf-8") as file:
            pending = json.load(file)
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        if pending["release"] == os.path.basename(own) and pending["boot_id"] != boot:
            earlier = os.path.join(releases, os.path.basename(pending["from"]))
            return earlier if os.path.isdir(earlier) else own
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing is on trial, or nobody can say so
    return own


RELEASE = _release()


def open_model(**options: Any) -> Any:
    """Return the Interpreter of this release's model, its tensors allocated; `options` are further arguments of it.

    Raises:
        RuntimeError: the runtime is not there for this Python, or another one is loaded; the message says what to do.
        OSError: a file of the release is missing.
    """
    wanted = _wanted()
    folder = _folder(wanted)
    interpreter = _load(folder)
    settings: Dict[str, Any] = {
        "model_path": os.path.join(RELEASE, "model.tflite"),
        "num_threads": wanted["threads"],
    }
    settings.update(options)
    try:
        network = interpreter(**settings)
    except SystemError as error:
        raise RuntimeError(_with_its_own(folder, error)) from error
    network.allocate_tensors()
    return network


def _wanted() -> Dict[str, Any]:
    path = os.path.join(RELEASE, "runtime.json")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        content = json.loads(text)
        return {name: content[name] for name in ("package", "version", "threads")}
    except (ValueError, KeyError, TypeError) as error:
        raise RuntimeError("%s is damaged: deploy the release again" % path) from error


def _folder(wanted: Dict[str, Any]) -> str:
    """Return where `ota provision` installed the runtime that is wanted, any where none is, for this Python."""
    own = "cp%d%d" % sys.version_info[:2]
    folders = _installed(wanted)
    for folder in folders:
        if folder.endswith("-" + own):
            return folder
    if folders:
        raise RuntimeError(
            "%s is installed for another Python than this one, %s: run the application with %s"
            % (_label(folders[0]), own, _python(folders[0]))
        )
    name = wanted["package"] + " " + wanted["version"] if wanted["package"] else "a runtime"
    raise RuntimeError("%s is not installed on this device: ota provision installs it" % name)


def _installed(wanted: Dict[str, Any]) -> List[str]:
    runtimes = os.path.join(os.path.dirname(os.path.dirname(RELEASE)), "runtime")
    names = (
        [wanted["package"] + "-" + wanted["version"]] if wanted["package"] else [n + "-*" for n in MODULES]
    )
    found = []
    for name in names:
        found += sorted(glob.glob(os.path.join(glob.escape(runtimes), name + "-cp*")), reverse=True)
    return [folder for folder in found if os.path.isfile(os.path.join(folder, "proven.json"))]


def _load(folder: str) -> Any:
    """Import the runtime of a folder and return its Interpreter class."""
    for packages in glob.glob(os.path.join(glob.escape(folder), "lib", "python*", "site-packages")):
        if packages not in sys.path:
            sys.path.insert(0, packages)
    try:
        module = importlib.import_module(MODULES[_label(folder).split(" ")[0]])
    except (ImportError, SystemError) as error:
        raise RuntimeError(_with_its_own(folder, error)) from error
    loaded = str(module.__file__)
    if not any(path.startswith(folder + os.sep) for path in (loaded, os.path.realpath(loaded))):
        raise RuntimeError(
            "%s is wanted, and this process has %s already: start the application anew and open the model first"
            % (_label(folder), loaded)
        )
    return module.Interpreter


def _with_its_own(folder: str, error: BaseException) -> str:
    """Return what helps where a runtime does not get along with what the application brings."""
    return (
        "%s does not load in this process (%s): open the model before NumPy is imported, or run the application with %s"
        % (
            _label(folder),
            str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__,
            _python(folder),
        )
    )


def _label(folder: str) -> str:
    package, _, version = os.path.basename(folder).rpartition("-cp")[0].rpartition("-")
    return package + " " + version


def _python(folder: str) -> str:
    return os.path.join(folder, "bin", "python")
