"""Signatures on the device: ssh-keygen and the device's own verification say the same of everything, and keyrings follow one another."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ota.agent import ed25519, sshsig, trust
from ota.agent.dialogue import RefusedError
from ota.core import keyring as core
from ota.core.keyring import KEYRING_NAMESPACE, ORDER_NAMESPACE, RELEASE_NAMESPACE, Keyring
from tests.signing.programs import ssh_keygen
from tests.signing.rings import a_ring, signature

MANIFEST = (
    b'{"artifacts":[{"name":"model.tflite","sha256":"'
    + b"5f" * 32
    + b'","size_bytes":4096}],"counter":7,"format":2,"model":"sorter"}'
)


@dataclass(frozen=True)
class World:
    """A keyring of ann, bob and eve with threshold 2, their private keys in `folder`, and a stranger's beside them."""

    folder: Path
    ring: Keyring
    stranger: Keyring

    @property
    def plain(self) -> dict[str, Any]:
        """The keyring as a device reads it."""
        return trust.parse(self.ring.to_json())

    def signed(self, name: str, namespace: str = RELEASE_NAMESPACE, content: bytes = MANIFEST) -> str:
        """Return a signature by one of the keyring's keys, or by mallory's."""
        ring = self.stranger if name == "mallory" else self.ring
        return signature(self.folder, ring, name, namespace, content)

    def stranger_ring(self) -> str:
        """Return the text of a next keyring that trusts the stranger alone."""
        return replace(self.stranger, version=2).to_json()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The keys that this module's tests share."""
    folder = tmp_path_factory.mktemp("keys")
    ring = a_ring(folder, "ann", "bob", "eve", threshold=2)
    return World(folder, ring, a_ring(folder, "mallory"))


@pytest.fixture(scope="module", params=["ssh-keygen", "own"])
def verifier(request: pytest.FixtureRequest) -> trust.Verifier:
    """Each of the two ways to verify."""
    if request.param == "own":
        return trust.Verifier(None)
    found = trust.Verifier(ssh_keygen())
    assert found.program is not None
    return found


def malleated(armored: str) -> str:
    """Return the signature with L added to S: it satisfies the equation, and older OpenSSH takes it."""
    found = sshsig.read(armored)
    assert found is not None
    s = int.from_bytes(found.signature[32:], "little") + ed25519.L
    return sshsig.armor(found._replace(signature=found.signature[:32] + s.to_bytes(32, "little")))


Signed = Callable[[World], dict[str, str]]
TABLE: dict[str, tuple[Signed, list[str]]] = {
    "right": (lambda w: {"ann": w.signed("ann")}, ["ann"]),
    "two right ones": (lambda w: {"bob": w.signed("bob"), "ann": w.signed("ann")}, ["ann", "bob"]),
    "wrong key": (lambda w: {"ann": w.signed("mallory")}, []),
    "wrong principal": (lambda w: {"bob": w.signed("ann")}, []),
    "wrong namespace": (lambda w: {"ann": w.signed("ann", ORDER_NAMESPACE)}, []),
    "tampered content": (lambda w: {"ann": w.signed("ann", content=MANIFEST + b" ")}, []),
    "truncated armor": (lambda w: {"ann": w.signed("ann")[:-40]}, []),
    "armor without its end": (lambda w: {"ann": w.signed("ann").rsplit("-----END", 1)[0]}, []),
    "something before the armor": (lambda w: {"ann": "\n" + w.signed("ann")}, []),
    "something behind the armor": (lambda w: {"ann": w.signed("ann") + "x"}, []),
    "empty": (lambda _: {"ann": ""}, []),
    "no text": (lambda _: {"ann": 5}, []),  # type: ignore[dict-item]
    "too long": (lambda w: {"ann": w.signed("ann") + "\n" * 10_000}, []),
    "a key that is not in the keyring": (lambda w: {"mallory": w.signed("mallory")}, []),
    "S + L": (lambda w: {"ann": malleated(w.signed("ann"))}, []),
    "one right, one wrong": (lambda w: {"ann": w.signed("ann"), "bob": w.signed("ann")}, ["ann"]),
    "none": (lambda _: {}, []),
}


@pytest.mark.parametrize(("signed", "names"), TABLE.values(), ids=TABLE.keys())
def test_both_ways_say_who_signed(
    signed: Signed, names: list[str], world: World, verifier: trust.Verifier
) -> None:
    """Only a good signature for the namespace, by the key bound to its name, counts, whichever way verifies it."""
    assert trust.verify(RELEASE_NAMESPACE, MANIFEST, signed(world), world.plain, verifier) == names


def test_a_key_under_two_names_counts_once(world: World, verifier: trust.Verifier) -> None:
    """One key cannot meet a threshold of two by another name."""
    twice = world.plain
    twice["keys"] = [*twice["keys"], {"name": "zoe", "public": world.ring.key("ann").public}]
    signatures = {"ann": world.signed("ann"), "zoe": world.signed("ann")}
    assert trust.verify(RELEASE_NAMESPACE, MANIFEST, signatures, twice, verifier) == ["ann"]
    with pytest.raises(RefusedError):
        trust.require(RELEASE_NAMESPACE, MANIFEST, signatures, twice, 2, verifier)


def test_the_forms_need_no_checks_of_ours_to_be_refused_by_ssh_keygen(world: World) -> None:
    """The real ssh-keygen, asked directly, binds name, namespace, key and content by the file that it is given."""
    program, found = ssh_keygen(), sshsig.read(world.signed("ann"))
    assert found is not None
    other = found._replace(public=world.ring.key("bob").raw)
    asked = {
        "right": ("ann", found, RELEASE_NAMESPACE, MANIFEST, True),
        "namespace": ("ann", found, ORDER_NAMESPACE, MANIFEST, False),
        "content": ("ann", found, RELEASE_NAMESPACE, MANIFEST + b" ", False),
        "key": ("ann", other, RELEASE_NAMESPACE, MANIFEST, False),
    }
    for name, (*args, answer) in asked.items():
        assert trust._asked(program, *args) is answer, name


REQUIRED: dict[str, tuple[Signed, str]] = {
    "no signature": (lambda _: {}, "unsigned"),
    "one of two": (lambda w: {"ann": w.signed("ann")}, "threshold"),
    "one of two and a stranger's": (
        lambda w: {"ann": w.signed("ann"), "mallory": w.signed("mallory")},
        "threshold",
    ),
    "one good, one wrong": (lambda w: {"ann": w.signed("ann"), "bob": w.signed("ann")}, "bad_signature"),
    "a stranger's alone": (lambda w: {"mallory": w.signed("mallory")}, "bad_signature"),
    "more than can be": (lambda _: {str(n): "" for n in range(65)}, "oversized"),
    "no mapping": (lambda _: ["x"], "oversized"),  # type: ignore[arg-type, return-value]
}


@pytest.mark.parametrize(("signed", "code"), REQUIRED.values(), ids=REQUIRED.keys())
def test_too_little_is_refused_by_its_code(signed: Signed, code: str, world: World) -> None:
    """Each way of not being signed by enough has its own code."""
    with pytest.raises(RefusedError) as caught:
        trust.require(RELEASE_NAMESPACE, MANIFEST, signed(world), world.plain)
    assert caught.value.code == code


def test_enough_is_enough(world: World, verifier: trust.Verifier) -> None:
    """The threshold may be met beside a signature that does not count; an order needs but one."""
    two = {"ann": world.signed("ann"), "eve": world.signed("eve"), "bob": "garbage"}
    assert trust.require(RELEASE_NAMESPACE, MANIFEST, two, world.plain, verifier=verifier) == ["ann", "eve"]
    one = {"bob": world.signed("bob", ORDER_NAMESPACE, b"order")}
    assert trust.require(ORDER_NAMESPACE, b"order", one, world.plain, 1, verifier) == ["bob"]


def test_what_cannot_be_verified_at_all_is_refused(world: World) -> None:
    """An oversized content, a threshold below one and a keyring of another shape verify nothing."""
    signed = {"ann": world.signed("ann")}
    for content, keyring, threshold, code in (
        (b"x" * (trust.MOST_CONTENT + 1), world.plain, 1, "oversized"),
        (MANIFEST, world.plain, 0, "bad_keyring"),
        (MANIFEST, {**world.plain, "threshold": True}, None, "bad_keyring"),
        (MANIFEST, {"keys": "ann"}, 1, "bad_keyring"),
        (MANIFEST, {"keys": [{"name": "*", "public": world.ring.key("ann").public}]}, 1, "bad_keyring"),
    ):
        with pytest.raises(RefusedError) as caught:
            trust.require(RELEASE_NAMESPACE, content, signed, keyring, threshold)
        assert caught.value.code == code


def _script(path: Path, text: str) -> str:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


UNUSABLE = {
    "too old for -Y": 'echo "unknown option -- Y" >&2; exit 1',
    "says yes to everything": "exit 0",
    "killed": "kill -9 $$",
}


@pytest.mark.parametrize("text", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_program_that_is_not_usable_is_not_asked(text: str, tmp_path: Path, world: World) -> None:
    """A stand-in, or an ssh-keygen of before 2019, fails a known answer; the device verifies by itself and says the same."""
    found = trust.Verifier(_script(tmp_path / "ssh-keygen", text))
    assert found.program is None
    right = {"ann": world.signed("ann")}
    assert trust.verify(RELEASE_NAMESPACE, MANIFEST, right, world.plain, found) == ["ann"]
    assert trust.verify(RELEASE_NAMESPACE, MANIFEST + b" ", right, world.plain, found) == []


def test_a_program_that_fails_later_is_done_without(tmp_path: Path, world: World) -> None:
    """Where ssh-keygen dies after it gave its known answers, the device's own way answers."""
    dying = f'echo >>"{tmp_path}/asked"\n[ $(wc -l <"{tmp_path}/asked") -le 2 ] || kill -9 $$\nexec {ssh_keygen()} "$@"'
    found = trust.Verifier(_script(tmp_path / "ssh-keygen", dying))
    assert found.program is not None
    signature = sshsig.read(world.signed("ann"))
    assert signature is not None
    assert trust._asked(found.program, "ann", signature, RELEASE_NAMESPACE, MANIFEST) is None
    right = {"ann": world.signed("ann")}
    assert trust.verify(RELEASE_NAMESPACE, MANIFEST, right, world.plain, found) == ["ann"]
    assert trust.verify(RELEASE_NAMESPACE, MANIFEST + b" ", right, world.plain, found) == []


def turned(content: bytes) -> Iterator[bytes]:
    """Yield `content` with each of its bits turned, one at a time."""
    for bit in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def armored(blob: bytes) -> str:
    """Return bytes in a signature's armor, as sshsig writes it."""
    text = base64.b64encode(blob).decode()
    lines = [text[start : start + 70] for start in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def test_every_single_bit_flip_is_refused(world: World) -> None:
    """No bit of the manifest and no bit of the signature's bytes can be turned; the unturned ones verify."""
    own, signed = trust.Verifier(None), world.signed("ann")
    blob = base64.b64decode("".join(signed.splitlines()[1:-1]))
    assert armored(blob) == signed
    assert trust.verify(RELEASE_NAMESPACE, MANIFEST, {"ann": signed}, world.plain, own) == ["ann"]
    passed = [
        flipped
        for flipped in turned(MANIFEST)
        if trust.verify(RELEASE_NAMESPACE, flipped, {"ann": signed}, world.plain, own)
    ]
    passed += [
        flipped
        for flipped in turned(blob)
        if trust.verify(RELEASE_NAMESPACE, MANIFEST, {"ann": armored(flipped)}, world.plain, own)
    ]
    assert passed == []


def test_sampled_bit_flips_are_refused_by_ssh_keygen_itself(world: World, tmp_path: Path) -> None:
    """The real program, given flipped bytes without any check of ours before, refuses them too."""
    program, rng = ssh_keygen(), random.Random(4)
    (tmp_path / "allowed").write_text(
        f'ann namespaces="{RELEASE_NAMESPACE}" {world.ring.key("ann").public}\n'
    )

    def said(content: bytes, text: str) -> int:
        (tmp_path / "sig").write_text(text)
        command = [program, "-Y", "verify", "-f", tmp_path / "allowed", "-I", "ann", "-n", RELEASE_NAMESPACE]
        return subprocess.run(
            [*command, "-s", tmp_path / "sig"], input=content, capture_output=True, check=False
        ).returncode

    signed = world.signed("ann")
    blob = base64.b64decode("".join(signed.splitlines()[1:-1]))
    assert said(MANIFEST, signed) == 0
    assert all(said(content, signed) for content in rng.sample(list(turned(MANIFEST)), 40))
    assert all(said(MANIFEST, armored(flipped)) for flipped in rng.sample(list(turned(blob)), 40))


def test_core_and_device_agree_on_what_a_keyring_is(world: World) -> None:
    """The names and bounds that both sides know are the same, and so is the one text of a keyring."""
    for name in (
        "RELEASE_NAMESPACE",
        "KEYRING_NAMESPACE",
        "ORDER_NAMESPACE",
        "MOST_KEYS",
        "MOST_KEYRING_CHARS",
    ):
        assert getattr(trust, name) == getattr(core, name)
    assert trust.MOST_VERSION == core.MOST_VERSION
    full = Keyring(
        version=core.MOST_VERSION,
        threshold=core.MOST_KEYS,
        keys=tuple(
            core.ReleaseKey.of_raw("n" * 62 + f"{n:02}", bytes([n]) * 32) for n in range(core.MOST_KEYS)
        ),
    )
    for ring in (world.ring, full):
        assert trust.parse(ring.to_json()) == json.loads(ring.to_json())


BAD_TEXTS: dict[str, Callable[[str], Any]] = {
    "empty": lambda _: "",
    "no text": lambda _: None,
    "a list": lambda _: "[]",
    "too long": lambda text: text + " " * 20_000,
    "deep": lambda _: "[" * 16_000,
    "spaces": lambda text: text.replace(":", ": "),
    "a member twice": lambda text: text.replace('"version":1', '"version":9,"version":1'),
    "threshold 0": lambda text: text.replace('"threshold":2', '"threshold":0'),
    "threshold 4": lambda text: text.replace('"threshold":2', '"threshold":4'),
    "version 0": lambda text: text.replace('"version":1', '"version":0'),
    "version true": lambda text: text.replace('"version":1', '"version":true'),
    "format 2": lambda text: text.replace('"format":1', '"format":2'),
    "a name twice": lambda text: text.replace('"bob"', '"ann"'),
    "a name that is a pattern": lambda text: text.replace('"bob"', '"*"'),
    "another kind of key": lambda text: text.replace("ssh-ed25519", "ssh-rsa", 1),
}


@pytest.mark.parametrize("spoil", BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
def test_what_is_no_keyring_is_not_adopted(spoil: Callable[[str], Any], world: World, tmp_path: Path) -> None:
    """Core and the device refuse the same texts, and nothing is written."""
    text = spoil(world.ring.to_json())
    with pytest.raises(RefusedError) as caught:
        trust.adopt(str(tmp_path), text, {})
    assert caught.value.code == "bad_keyring"
    assert list(tmp_path.iterdir()) == []
    if isinstance(text, str):
        with pytest.raises(ValueError, match=r".+"):
            Keyring.from_json(text)


def next_ring(world: World) -> tuple[str, dict[str, str]]:
    """Return the keyring without eve, signed by ann and bob."""
    text = world.ring.without("eve").to_json()
    return text, {name: world.signed(name, KEYRING_NAMESPACE, text.encode()) for name in ("ann", "bob")}


def test_the_first_keyring_comes_as_it_is_and_the_next_one_signed(world: World, tmp_path: Path) -> None:
    """A device takes its first keyring unsigned, the same again without a change, and the next with the threshold of the one in force."""
    root = str(tmp_path / "root")
    assert trust.load(root) is None
    assert trust.adopt(root, world.ring.to_json(), {})
    assert not trust.adopt(root, world.ring.to_json(), {})
    assert trust.load(root) == world.plain
    text, signatures = next_ring(world)
    assert trust.adopt(root, text, signatures)
    assert (tmp_path / "root" / "trust" / "keyring.json").read_text() == text
    assert [path.name for path in (tmp_path / "root" / "trust").iterdir()] == ["keyring.json"]


SUCCESSIONS: dict[str, tuple[Callable[[World], tuple[str, dict[str, str]]], str]] = {
    "unsigned": (lambda w: (next_ring(w)[0], {}), "unsigned"),
    "one of two signed": (lambda w: (next_ring(w)[0], {"ann": next_ring(w)[1]["ann"]}), "threshold"),
    "signed for a release": (
        lambda w: (next_ring(w)[0], {"ann": w.signed("ann", content=next_ring(w)[0].encode())}),
        "bad_signature",
    ),
    "signed by its own new key": (
        lambda w: (w.stranger_ring(), {"mallory": w.signed("mallory", KEYRING_NAMESPACE, w.stranger_ring().encode())}),
        "bad_signature",
    ),
    "a version skipped": (
        lambda w: (replace(w.ring, version=3).to_json(), next_ring(w)[1]),
        "keyring_version",
    ),
    "the same version, another content": (
        lambda w: (replace(w.ring, threshold=1).to_json(), next_ring(w)[1]),
        "keyring_version",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("offer", "code"), SUCCESSIONS.values(), ids=SUCCESSIONS.keys())
def test_another_keyring_is_refused(
    offer: Callable[[World], tuple[str, dict[str, str]]], code: str, world: World, tmp_path: Path
) -> None:
    """What does not follow by one, or is not signed by the threshold in force, leaves that in force."""
    trust.adopt(str(tmp_path), world.ring.to_json(), {})
    text, signatures = offer(world)
    with pytest.raises(RefusedError) as caught:
        trust.adopt(str(tmp_path), text, signatures)
    assert caught.value.code == code
    assert trust.load(str(tmp_path)) == world.plain


def test_an_earlier_keyring_cannot_come_back(world: World, tmp_path: Path) -> None:
    """After a rotation the keyring before it is refused, though once it was in force."""
    trust.adopt(str(tmp_path), world.ring.to_json(), {})
    text, signatures = next_ring(world)
    trust.adopt(str(tmp_path), text, signatures)
    with pytest.raises(RefusedError, match="keyring 1 does not follow keyring 2"):
        trust.adopt(str(tmp_path), world.ring.to_json(), signatures)
    assert trust.load(str(tmp_path)) == trust.parse(text)


def _torn(path: Path) -> None:
    path.write_text(path.read_text()[:50])


def _binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _emptied(path: Path) -> None:
    path.write_text("")


@pytest.mark.parametrize("spoil", [_torn, _binary, _a_folder, _emptied], ids=lambda f: f.__name__)
def test_a_keyring_that_cannot_be_read_is_not_no_keyring(
    spoil: Callable[[Path], None], world: World, tmp_path: Path
) -> None:
    """A damaged keyring stops the device from taking anything: it neither works unsigned nor trusts anew."""
    trust.adopt(str(tmp_path), world.ring.to_json(), {})
    spoil(tmp_path / "trust" / "keyring.json")
    for act in (
        lambda: trust.load(str(tmp_path)),
        lambda: trust.adopt(str(tmp_path), world.stranger.to_json(), {}),
    ):
        with pytest.raises(RefusedError) as caught:
            act()
        assert caught.value.code == "bad_keyring"


def test_the_devices_module_needs_the_standard_library_alone(world: World, tmp_path: Path) -> None:
    """In an interpreter without any package the same signature verifies both ways."""
    code = (
        "import json, sys; from ota.agent import trust; keyring, signed, content = json.load(sys.stdin)\n"
        "ways = [trust.Verifier(None), trust.Verifier.of_device()]\n"
        "print([trust.verify('ota-release', content.encode(), signed, keyring, way) for way in ways])"
    )
    given = json.dumps([world.plain, {"ann": world.signed("ann")}, MANIFEST.decode()])
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert done.stdout == "[['ann'], ['ann']]\n", done.stderr
