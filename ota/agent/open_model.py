"""Open the model of this release as it was measured: the same runtime, the same number of threads.

Every release holds this file beside its model. An application on the device needs two lines:

    import runpy
    interpreter = runpy.run_path("<ota_root>/current/open_model.py")["open_model"]()

What it gets is an allocated Interpreter. Which release that is, is settled when this file is run: an activation in between changes nothing.
"""

from __future__ import annotations

import glob
import importlib
import json
import os
import sys
from typing import Any, Dict, List

MODULES = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
RELEASE = os.path.dirname(os.path.realpath(__file__))


def open_model(**options: Any) -> Any:
    """Return the Interpreter of this release's model, its tensors allocated; `options` are further arguments of it.

    Raises:
        RuntimeError: the runtime is not there for this Python; the message names the interpreter to use.
        OSError: a file of the release is missing.
    """
    with open(os.path.join(RELEASE, "runtime.json"), encoding="utf-8") as file:
        wanted = json.load(file)
    interpreter = _interpreter(wanted)
    settings: Dict[str, Any] = {
        "model_path": os.path.join(RELEASE, "model.tflite"),
        "num_threads": wanted["threads"],
    }
    settings.update(options)
    network = interpreter(**settings)
    network.allocate_tensors()
    return network


def _interpreter(wanted: Dict[str, Any]) -> Any:
    """Import the runtime that is wanted, any where none is, from where `ota provision` installed it."""
    own = "cp%d%d" % sys.version_info[:2]
    folders = _installed(wanted)
    for folder in folders:
        if folder.endswith("-" + own):
            package = os.path.basename(folder).split("-cp")[0].rpartition("-")[0]
            sys.path[:0] = glob.glob(os.path.join(folder, "lib", "python*", "site-packages"))
            return importlib.import_module(MODULES[package]).Interpreter
    if folders:
        python = os.path.join(folders[0], "bin", "python")
        raise RuntimeError(
            "this Python is %s, the runtime is for another: run the application with %s" % (own, python)
        )
    name = wanted["package"] + " " + wanted["version"] if wanted["package"] else "no runtime"
    raise RuntimeError("%s is not installed on this device: ota provision installs it" % name)


def _installed(wanted: Dict[str, Any]) -> List[str]:
    runtimes = os.path.join(os.path.dirname(os.path.dirname(RELEASE)), "runtime")
    names = (
        [wanted["package"] + "-" + wanted["version"]]
        if wanted["package"]
        else [name + "-*" for name in MODULES]
    )
    found = [
        folder
        for name in names
        for folder in sorted(glob.glob(os.path.join(runtimes, name + "-cp*")), reverse=True)
    ]
    return [folder for folder in found if os.path.isfile(os.path.join(folder, "proven.json"))]
