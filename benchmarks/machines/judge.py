"""Runs on the machine under trial, alone and without the agent: prints one line of JSON that says what `current` is and what is wrong with it.

Usage: judge.py ROOT. Python 3.7 and later, standard library only.
"""

import hashlib
import json
import os
import sys


def wrong(root: str, current: str) -> str:
    """Return what is wrong with the release behind `current`, empty where it is complete and as its manifest says."""
    if not os.path.isdir(os.path.join(root, "current")):
        return "current leads nowhere"
    with open(os.path.join(root, "current", "manifest.json"), "rb") as file:
        text = file.read()
    if hashlib.sha256(text).hexdigest()[:16] != current:
        return "the manifest is not that of the release"
    for artifact in json.loads(text.decode("utf-8"))["artifacts"]:
        try:
            with open(os.path.join(root, "current", artifact["name"]), "rb") as file:
                content = file.read()
        except OSError as error:
            return "%s: %s" % (artifact["name"], error.strerror)
        if (
            len(content) != artifact["size_bytes"]
            or hashlib.sha256(content).hexdigest() != artifact["sha256"]
        ):
            return "%s has other bytes (%d of %d)" % (
                artifact["name"],
                len(content),
                artifact["size_bytes"],
            )
    return ""


def main(root: str) -> None:
    """Print {current, wrong}; a machine without `current` has nothing wrong."""
    link = os.path.join(root, "current")
    current = os.path.basename(os.readlink(link)) if os.path.islink(link) else None
    there = current is not None or os.path.lexists(link)
    try:
        found = wrong(root, current or "") if there else ""
    except (OSError, ValueError, KeyError) as error:
        found = "%s: %s" % (type(error).__name__, error)
    print(json.dumps({"current": current, "wrong": found}))


if __name__ == "__main__":
    main(sys.argv[1])
