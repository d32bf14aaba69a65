"""The line that limits a key, and the line of sudoers: what is kept, what goes, what OpenSSH and sudo read there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ota.agent import authorized_keys
from ota.agent.dialogue import RefusedError
from tests.remote.conftest import make_key

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFr7pMGL534ITuJmvJjAdhgEL1NQgpCum+stHF4AGskz"
OTHER = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAI= other"
LIMIT = 'restrict,command="run"'

CASES = {
    "no file": ("", f"{LIMIT} {KEY} ota\n"),
    "no such key": (f"{OTHER}\n", f"{OTHER}\n{LIMIT} {KEY} ota\n"),
    "no such key and no end of line": (OTHER, f"{OTHER}\n{LIMIT} {KEY} ota\n"),
    "a plain key": (f"{KEY}\n", f"{LIMIT} {KEY}\n"),
    "a key with a comment": (f"{KEY} pi at  home\n", f"{LIMIT} {KEY} pi at  home\n"),
    "an indented key with the end of line of another system": (f"  {KEY} pi\r\n", f"{LIMIT} {KEY} pi\r\n"),
    "no end of line": (KEY, f"{LIMIT} {KEY}"),
    "options that limit stay, those that allow go": (
        f'pty,from="10.0.0.0/8,!10.1.1.1",port-forwarding,Expiry-Time="20301231" {KEY} pi',
        f'from="10.0.0.0/8,!10.1.1.1",Expiry-Time="20301231",{LIMIT} {KEY} pi',
    ),
    "a forced command with quotes, commas and blanks": (
        f'command="a, \\"b c\\" ,pty",from="x" {KEY} pi',
        f'from="x",{LIMIT} {KEY} pi',
    ),
    "a quote that a backslash keeps open, so that there is no key": (
        f'environment="A=\\\\" {KEY}\n',
        f'environment="A=\\\\" {KEY}\n{LIMIT} {KEY} ota\n',
    ),
    "the key twice": (
        f'from="a" {KEY}\n{OTHER}\n{KEY} two\n',
        f'from="a",{LIMIT} {KEY}\n{OTHER}\n{LIMIT} {KEY} two\n',
    ),
    "limited already": (f"{LIMIT} {KEY} pi\n", f"{LIMIT} {KEY} pi\n"),
    "a comment with the key": (f"# {KEY}\n", f"# {KEY}\n{LIMIT} {KEY} ota\n"),
    "an authority with the same key": (
        f"cert-authority {KEY}\n",
        f"cert-authority {KEY}\n{LIMIT} {KEY} ota\n",
    ),
    "a key that only begins alike": (f"{KEY}AAAA\n", f"{KEY}AAAA\n{LIMIT} {KEY} ota\n"),
    "a line that is none": (f'command="open {KEY}\n', f'command="open {KEY}\n{LIMIT} {KEY} ota\n'),
    "what is no text": (f"\udcff\n{KEY} \udcff\n", f"\udcff\n{LIMIT} {KEY} \udcff\n"),
}


def encoded(text: str) -> bytes:
    """Return text as a file has it."""
    return text.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(("before", "after"), CASES.values(), ids=CASES.keys())
def test_a_key_is_limited_and_all_else_stays(before: str, after: str) -> None:
    """The file becomes exactly this, and limiting the key once more changes nothing."""
    planned = authorized_keys.plan(encoded(before), KEY, "run")
    assert planned.content == encoded(after)
    assert authorized_keys.plan(planned.content, KEY, "run").content == planned.content


def test_what_a_person_ought_to_know_is_told() -> None:
    """Keys without a forced command are counted; somebody else's command that goes is named, one of ota's own is not."""
    door = authorized_keys.command_of("/usr/bin/python3", "/r/agent/1.pyz", "/r/agent/2.json", None)
    text = f'{OTHER}\ncommand="x" {OTHER}2\ncommand="wrapper" {KEY}\ncommand="{door}" {KEY}\n'
    planned = authorized_keys.plan(text.encode(), KEY, "run")
    assert (planned.found, planned.others, planned.replaced) == (True, 1, ['"wrapper"'])
    assert authorized_keys.plan(OTHER.encode(), KEY, "run").found is False


NAMES = [
    "plain",
    "with blank",
    "with'quote",
    'with"quotes"',
    "back\\slash",
    'both\\"',
    "$(x)`y`",
    "é",
    "a,b=c:d",
]


@pytest.mark.parametrize("name", NAMES)
def test_openssh_and_the_shell_read_the_words_again(name: str, tmp_path: Path) -> None:
    """Whatever a folder is called, ssh-keygen sees the key behind the options, and the shell gives the program its words; control characters are refused."""
    folder = tmp_path / name
    folder.mkdir()
    program = folder / "program"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    command = authorized_keys.command_of(str(program), "/a/1.pyz", str(folder), None)
    told = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == ["-I", "/a/1.pyz", "door", str(folder)]
    public = make_key(tmp_path / "key").with_suffix(".pub").read_text()
    planned = authorized_keys.plan(
        f'from="10.0.0.0/8" {public}'.encode(), " ".join(public.split()[:2]), command
    )
    (tmp_path / "keys").write_bytes(planned.content)
    listed = [
        subprocess.run(
            ["ssh-keygen", "-l", "-f", str(path)], capture_output=True, text=True, check=True
        ).stdout.split()[1]
        for path in (tmp_path / "keys", tmp_path / "key.pub")
    ]
    assert listed[0] == listed[1]
    entry = authorized_keys.entry_of(planned.content)
    assert entry is not None
    forced = entry.command()
    assert forced is not None
    assert forced[1:-1].replace(b'\\"', b'"').decode() == command
    with pytest.raises(RefusedError, match="control character"):
        authorized_keys.command_of("/a\n", "b", "c", None)


def test_sudo_starts_the_gate_alone(tmp_path: Path) -> None:
    """The forced command goes through sudo with the wish as one word that no shell looks into; the line of sudoers names exactly that program."""
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\nprintf "<%s>\\n" "$@"\n')
    sudo.chmod(0o755)
    command = authorized_keys.command_of(
        "/usr/bin/python3", "/root/o ta/agent/1.pyz", "/root/o ta/agent/2.json", "root"
    )
    told = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "SSH_ORIGINAL_COMMAND": 'a "b" $(c)\n`d`'},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    words = [
        "-n",
        "-H",
        "-u",
        "root",
        "--",
        "/usr/bin/python3",
        "-I",
        "/root/o ta/agent/1.pyz",
        "door",
        "/root/o ta/agent/2.json",
    ]
    assert told == "".join(f"<{word}>\n" for word in (*words, 'a "b" $(c)\n`d`'))
    line = authorized_keys.sudoers_line(
        "pi", "/usr/bin/python3", "/root/o ta/agent/1.pyz", "/root/o ta/agent/2.json", "root"
    )
    assert (
        line
        == r"pi ALL=(root) NOPASSWD: /usr/bin/python3 -I /root/o\ ta/agent/1.pyz door /root/o\ ta/agent/2.json *"
    )


@pytest.mark.skipif(
    shutil.which("visudo", path="/usr/sbin:/usr/bin:/sbin") is None, reason="needs sudo's visudo"
)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "é"])
def test_sudo_reads_its_line(name: str, tmp_path: Path) -> None:
    """Visudo finds no fault, whatever a folder is called."""
    file = tmp_path / "sudoers"
    file.write_text(
        authorized_keys.sudoers_line("pi", "/usr/bin/python3", f"/{name}/1.pyz", f"/{name}/2.json", "root")
        + "\n"
    )
    file.chmod(0o440)
    done = subprocess.run(
        ["/usr/sbin/visudo", "-c", "-f", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_others_may_change_is_found(tmp_path: Path) -> None:
    """The first path that is not root's alone is named."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = tmp_path / "open" / "agent"
    folder.mkdir(parents=True)
    for path in (folder, folder.parent):
        path.chmod(0o755)
    folder.parent.chmod(0o777)
    assert authorized_keys.loose(str(folder)) == str(folder.parent)
    assert authorized_keys.loose("/usr/bin") is None
