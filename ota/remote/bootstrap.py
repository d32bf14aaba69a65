"""The agent as one file, and the words that start it on a device.

The zip is the same bytes for the same sources on every controller. What the bootstrap runs on the device has the digest that the
controller named: it reads the agent that is there, and asks for it where it is missing or differs.
"""

from __future__ import annotations

import io
import zipfile
from functools import lru_cache
from importlib import resources
from threading import Lock

from ota.core.release import Digest

MARK = b"ota-agent"
"""Begins the first line that is ours, behind whatever a login shell prints."""

_EPOCH = (1980, 1, 1, 0, 0, 0)

# To compile is most of what a dialogue's start costs, and Python's own import from a zip does it twice: `Agent` does it once, and keeps what it compiled beside
# the agent, for this very Python, as Python itself does with files. Whoever may write there may write the keyring too; damage is told by a digest.
_SOURCE = """
import hashlib, os, sys
root, want, size, keep = os.path.expanduser(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "keep"
out, source = sys.stdout.buffer, sys.stdin.buffer
def tell(word):
    out.write(b"\\n%s " % MARK + word.encode() + b"\\n")
    out.flush()
def right(content):
    return hashlib.sha256(content).hexdigest() == want
if sys.version_info < (3, 7):
    tell("old %d.%d" % sys.version_info[:2])
    sys.exit(0)
path = os.path.join(root, "agent", want + ".pyz")
try:
    with open(path, "rb") as file:
        content = file.read()
except OSError:
    content = b""
if right(content):
    tell("have")
else:
    tell("send")
    # What the controller asked for before it knew comes again behind the agent.
    while source.readline() not in (b"%s\\n" % MARK, b""):
        pass
    content = source.read(size)
    if not right(content):
        sys.exit("the agent arrived damaged")
    try:
        if not keep:
            import tempfile
            handle, path = tempfile.mkstemp(suffix=".pyz")
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            handle = os.open(path + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if keep:
            os.replace(path + ".tmp", path)
    except OSError as error:
        if keep and os.path.isfile(path + ".tmp"):
            try:
                os.unlink(path + ".tmp")
            except OSError:
                pass
        tell("refused %s: %s" % (error.filename or path, error.strerror))
        sys.exit(0)
    tell("stored")
import marshal
from importlib.machinery import ModuleSpec
class Agent:
    def __init__(self):
        self.kept = "%s.%s-%x" % (path[:-4], sys.implementation.name, sys.hexversion)
        self.codes, self.new, self.started = {}, False, False
        try:
            with open(self.kept, "rb") as file:
                content = file.read()
            if hashlib.sha256(content[32:]).digest() == content[:32]:
                self.codes = marshal.loads(content[32:])
        except OSError:
            pass
    def keep(self):
        if not self.new or not keep:
            return
        self.new, content = False, marshal.dumps(self.codes)
        temporary = "%s.%d.tmp" % (self.kept, os.getpid())
        try:
            with open(temporary, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            os.replace(temporary, self.kept)
        except OSError:
            if os.path.exists(temporary):
                os.unlink(temporary)
    def get_data(self, origin):
        import zipimport
        return zipimport.zipimporter(path).get_data(origin)
    def find_spec(self, name, parents=None, target=None):
        if name.partition(".")[0] != "agent":
            return None
        inside = name.replace(".", os.sep) + (os.sep + "__init__" if name == "agent" else "") + ".py"
        spec = ModuleSpec(name, self, origin=os.path.join(path, inside), is_package=name == "agent")
        spec.has_location = True
        return spec
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        name, origin = module.__name__, module.__spec__.origin
        if name not in self.codes:
            try:
                source = self.get_data(origin)
            except OSError:
                raise ImportError("no " + origin)
            self.codes[name] = marshal.dumps(compile(source, origin, "exec", 0, True))
            self.new = True
            if self.started:
                self.keep()
        exec(marshal.loads(self.codes[name]), module.__dict__)
agent = Agent()
sys.meta_path.insert(0, agent)
from agent.main import main
agent.started = True
agent.keep()
try:
    main(root, path)
finally:
    if not keep and os.path.dirname(path) != os.path.join(root, "agent"):
        os.unlink(path)
"""


_MAIN = """
import sys
if sys.argv[1] == "door":
    from agent import door
    door.run(*sys.argv[2:4])
else:
    from agent import boot
    assert sys.argv[1] == "boot"
    boot.run(*sys.argv[2:4])
""".lstrip()
"""What the file does when it is run by itself: what the boot hook is for, or what sshd starts for a key that is limited to it."""


def agent_zip() -> bytes:
    """Return the agent as a zip that Python imports, and runs as the boot hook: package `agent`, sorted, without times."""
    with _ONE_AT_A_TIME:
        return _packed()


_ONE_AT_A_TIME = Lock()
"""Every thread of a rollout wants the agent at the same moment, and the cache alone lets each make it."""


@lru_cache(maxsize=1)
def _packed() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in sorted(resources.files("ota.agent").iterdir(), key=lambda e: e.name):
            if entry.name.endswith((".py", ".tflite")):
                archive.writestr(
                    zipfile.ZipInfo(f"agent/{entry.name}", _EPOCH), entry.read_bytes(), zipfile.ZIP_DEFLATED
                )
        archive.writestr(zipfile.ZipInfo("__main__.py", _EPOCH), _MAIN, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def bootstrap_argv(python: str, root: str, *, keep: bool) -> tuple[str, ...]:
    """Return the command that starts the agent under `python` on `root`; `keep` False leaves nothing on the device."""
    content = agent_zip()
    size = str(len(content))
    return (python, "-IS", "-c", _source(), root, Digest.of(content).hex, size, "keep" if keep else "drop")


def start_digest() -> Digest:
    """Return the digest of the bootstrap, by which a restricted device knows it."""
    return Digest.of(_source().encode())


def _source() -> str:
    return _SOURCE.strip().replace("MARK", repr(MARK))
