"""The SSH transport against real OpenSSH daemons: who is spoken to, how one signs in, what a dialogue survives and how it ends."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ota.core.connection import Connection
from ota.core.release import Digest
from ota.errors import CommandEndedError, ExitCode, HostError, HostKeyError, UnreachableError
from ota.remote import ssh
from ota.remote.transport import Limits
from ota.remote.trust import Standing, read_known_hosts
from tests.remote.conftest import HOST, Link, Sshd, free_port, known_line, make_key

pytestmark = pytest.mark.sshd


def echo(connection: Connection, limits: Limits | None = None) -> bytes:
    """Return what a device echoes; the shortest proof that a connection works."""
    with closing(ssh.connect(HOST, connection, limits=limits)) as transport:
        channel = transport.open(["echo", "here"])
        return channel.read_line(100)


def refused(connection: Connection, limits: Limits | None = None) -> UnreachableError:
    """Return the error with which a connection is refused."""
    with pytest.raises(UnreachableError) as raised:
        ssh.connect(HOST, connection, limits=limits)
    return raised.value


# Keys of hosts


def test_an_unknown_key_is_refused_and_recorded_nowhere(sshd: Sshd) -> None:
    """Fabric would add the key by itself; here the host is not spoken to and the file stays empty."""
    sshd.known.write_text("")
    error = refused(sshd.connection())
    assert isinstance(error, HostKeyError)
    assert error.problem.startswith("the host shows an ED25519 key that is not known, SHA256:")
    assert error.hint == "compare the fingerprint with the device's own, then: ota trust pi"
    assert error.exit_code is ExitCode.HOSTS_UNREACHABLE
    assert sshd.known.read_text() == ""


def test_no_checking_in_the_inventory_changes_nothing(sshd: Sshd) -> None:
    """StrictHostKeyChecking=no is heard and not obeyed."""
    sshd.known.write_text("")
    assert isinstance(refused(sshd.connection(host_key_checking=False)), HostKeyError)


def test_a_changed_key_is_refused_with_the_command_that_removes_the_old_one(
    sshd: Sshd, tmp_path: Path
) -> None:
    """The message shows both fingerprints, and its command is the one that works."""
    other = make_key(tmp_path / "other")
    sshd.known.write_text(known_line(sshd.name, other.with_suffix(".pub")))
    error = refused(sshd.connection())
    assert isinstance(error, HostKeyError)
    assert "installed anew, or something else answers in its place" in error.problem
    assert error.expected.endswith(f"({sshd.known}:1)")
    listed = subprocess.run(
        ["ssh-keygen", "-lf", sshd.host_keys["ed25519"]], capture_output=True, text=True, check=True
    )
    assert error.found == f"ED25519 {listed.stdout.split()[1]}"
    command = error.hint.split(": ", 1)[1].split(", then")[0]
    assert command == f"ssh-keygen -f '{sshd.known}' -R '{sshd.name}'"
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    assert "not known" in refused(sshd.connection()).problem
    ssh.offered_keys(HOST, sshd.connection()).record()
    assert echo(sshd.connection()) == b"here"


def test_a_revoked_key_is_refused(sshd: Sshd) -> None:
    """A key marked @revoked is not spoken to although another line records it."""
    public = sshd.host_keys["ed25519"].with_suffix(".pub")
    sshd.known.write_text(known_line(sshd.name, public) + "@revoked " + known_line("*", public))
    error = refused(sshd.connection())
    assert "a known_hosts file revokes" in error.problem


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_the_recorded_kind_of_key_is_asked_for_first(sshd: Sshd, kind: str) -> None:
    """A host with three keys of which one is recorded is known by that one, and does not look changed."""
    sshd.record(kind)
    assert echo(sshd.connection()) == b"here"


def hashed(sshd: Sshd) -> dict[str, object]:
    """Hash the names in the file."""
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", sshd.known], check=True, capture_output=True)
    assert "127.0.0.1" not in sshd.known.read_text()
    return {}


def second_file(sshd: Sshd) -> dict[str, object]:
    """Put the key into a second file."""
    first = sshd.folder / "other_known_hosts"
    first.write_text("# nothing here\n")
    return {"known_hosts_files": (str(first), str(sshd.folder / "absent"), str(sshd.known))}


def wildcard(sshd: Sshd) -> dict[str, object]:
    """Record the key under a pattern that the name fits."""
    sshd.record("rsa", name="[127.0.0.*]:*,!elsewhere")
    return {}


def without_port(sshd: Sshd) -> dict[str, object]:
    """Record the key under the name alone."""
    sshd.record("ecdsa", name="127.0.0.1")
    return {}


def alias(sshd: Sshd) -> dict[str, object]:
    """Record the key under an alias."""
    sshd.record("ed25519", name="sorter-1")
    return {"host_key_alias": "sorter-1"}


@pytest.mark.parametrize("form", [hashed, second_file, wildcard, without_port, alias])
def test_every_form_of_a_known_hosts_entry_counts(
    sshd: Sshd, form: Callable[[Sshd], dict[str, object]]
) -> None:
    """Hashed names, a second file, patterns, an entry without the port and an alias all make a host known."""
    assert echo(sshd.connection(**form(sshd))) == b"here"


def test_offered_keys_are_those_of_the_host_and_recording_them_makes_it_known(sshd: Sshd) -> None:
    """All three kinds are fetched without signing in, and `record` is enough for the next connection."""
    sshd.known.unlink()
    offer = ssh.offered_keys(HOST, sshd.connection(private_key_files=(), user="nobody"))
    assert [key.title for key in offer.keys] == ["ED25519", "ECDSA", "RSA"]
    assert offer.unknown == offer.keys
    assert offer.name == sshd.name
    assert not offer.hop
    offer.record(hashed=True)
    assert offer.unknown == ()
    assert sshd.known.stat().st_mode & 0o777 == 0o600
    assert echo(sshd.connection()) == b"here"


# Signing in


def test_a_wrong_key_names_user_files_and_next_step(sshd: Sshd, tmp_path: Path) -> None:
    """What was tried is listed, and the hint is a command that would help."""
    wrong = make_key(tmp_path / "wrong")
    error = refused(sshd.connection(private_key_files=(str(wrong),), identities_only=True, user="root"))
    assert not isinstance(error, HostKeyError)
    assert error.problem == f"root@127.0.0.1:{sshd.port} does not let us in"
    assert error.found == str(wrong)
    assert error.hint == f"to allow a key there: ssh-copy-id -i {wrong}.pub -p {sshd.port} root@127.0.0.1"


def test_keys_that_cannot_be_used_say_why(sshd: Sshd, tmp_path: Path) -> None:
    """A key with a passphrase and a file that is no key are named as such."""
    locked = make_key(tmp_path / "locked", passphrase="secret words")
    broken = tmp_path / "broken"
    broken.write_text("no key\n")
    error = refused(sshd.connection(private_key_files=(str(locked), str(broken)), identities_only=True))
    assert error.found == (
        f"{locked} (has a passphrase: ssh-add it), {broken} (is no private key that can be read)"
    )


def test_a_key_file_that_is_not_there_is_said_to_be_absent(sshd: Sshd, tmp_path: Path) -> None:
    """The path is named rather than `permission denied`."""
    error = refused(sshd.connection(private_key_files=(str(tmp_path / "none"),), identities_only=True))
    assert error.problem == f"the private key file {tmp_path / 'none'} does not exist"


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_every_kind_of_user_key_signs_in(sshd: Sshd, tmp_path: Path, kind: str) -> None:
    """RSA and ECDSA keys work as the Ed25519 key of the other tests does, also behind a key that is refused."""
    key = make_key(tmp_path / kind, kind)
    (sshd.folder / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
    wrong = make_key(tmp_path / "wrong")
    assert echo(sshd.connection(private_key_files=(str(wrong), str(key)), identities_only=True)) == b"here"


AGENT = """
import sys
from ota.core.connection import Connection
from ota.core.inventory import Host
from ota.remote import ssh
connection = Connection(kind="ssh", address="127.0.0.1", port=int(sys.argv[1]), known_hosts_files=(sys.argv[2],), ssh_config_file="none",
    private_key_files=tuple(sys.argv[3:]), identities_only=bool(sys.argv[3:]))
transport = ssh.connect(Host(name="pi"), connection)
print(transport.open(["echo", "here"]).read_line(100).decode())
transport.close()
"""


@pytest.mark.parametrize("named", [False, True], ids=["any", "named and locked"])
def test_the_agents_keys_sign_in(sshd: Sshd, tmp_path: Path, named: bool) -> None:
    """A key that only ssh-agent holds lets us in, and so does one whose file has a passphrase while the agent has it open."""
    socket_path = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket_path], stdout=subprocess.DEVNULL) as agent:
        environment = {**os.environ, "SSH_AUTH_SOCK": str(socket_path)}
        until = time.monotonic() + 5
        while not socket_path.exists() and time.monotonic() < until:
            time.sleep(0.02)
        subprocess.run(["ssh-add", "-q", sshd.key], env=environment, check=True)
        arguments = [str(sshd.key)] if named else []
        if named:
            subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret words", "-f", sshd.key], check=True)
        done = subprocess.run(
            [sys.executable, "-c", AGENT, str(sshd.port), str(sshd.known), *arguments],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        agent.terminate()
    assert done.stdout == "here\n", done.stderr


def test_the_password_is_asked_for_only_when_no_key_lets_us_in(sshd: Sshd) -> None:
    """A key that works leaves the prompt alone; a daemon without passwords lists the one that was tried."""
    asked: list[int] = []

    def password() -> str:
        asked.append(1)
        return "wrong"

    ssh.connect(HOST, sshd.connection(), password=password).close()
    assert asked == []
    (sshd.folder / "authorized_keys").write_text("")
    with pytest.raises(UnreachableError) as raised:
        ssh.connect(HOST, sshd.connection(identities_only=True), password=password)
    assert asked == [1]
    assert raised.value.found == f"{sshd.key}, the password"


def test_too_many_keys_are_told_from_a_wrong_one(start_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    """A daemon that hangs up after MaxAuthTries is reported as such."""
    sshd = start_sshd("MaxAuthTries 2\n")
    wrong = tuple(str(make_key(tmp_path / f"wrong{number}")) for number in range(4))
    error = refused(sshd.connection(private_key_files=wrong, identities_only=True))
    assert error.problem.endswith("does not let us in, and hung up after so many attempts")


# Out of reach


def test_each_way_of_being_out_of_reach_has_its_own_words(sshd: Sshd) -> None:
    """Refused, unresolvable and silent are three messages, each with what to do."""
    port = free_port()
    error = refused(sshd.connection(port=port))
    assert error.problem == f"127.0.0.1 port {port} refuses the connection"
    assert error.hint == "check that sshd runs there, and ansible_port"
    error = refused(sshd.connection(address="no-such-host.invalid"))
    assert error.problem == "the name no-such-host.invalid cannot be resolved"
    assert error.where == "pi"


def test_a_server_that_never_speaks_is_given_up_after_the_connect_limit(
    sshd: Sshd, link: Callable[..., Link]
) -> None:
    """A port that accepts and says nothing costs one connect limit, not one for each attempt."""
    silent = link(sshd.port)
    silent.silence()
    began = time.monotonic()
    error = refused(sshd.connection(port=silent.port, connect_timeout_s=1.0))
    assert error.problem == f"no answer from 127.0.0.1 port {silent.port} within 1 s"
    assert time.monotonic() - began < 4


def test_start_ups_that_sshd_refuses_are_tried_again(start_sshd: Callable[..., Sshd]) -> None:
    """With MaxStartups 1 eight connections at once all come through."""
    sshd = start_sshd("MaxStartups 1:100:1\n")
    echoes: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: echoes.append(echo(sshd.connection(retries=20)))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert echoes == [b"here"] * 8


def test_retries_reach_a_host_that_comes_up_late(sshd: Sshd) -> None:
    """ansible_ssh_retries counts further attempts on a port that refuses at first."""
    port = free_port()
    line = known_line(f"[127.0.0.1]:{port}", sshd.host_keys["ed25519"].with_suffix(".pub"))
    sshd.known.write_text(line)
    late: list[Link] = []

    def come_up() -> None:
        time.sleep(0.5)
        late.append(Link(sshd.port, port=port))

    threading.Thread(target=come_up).start()
    assert echo(sshd.connection(port=port, retries=8)) == b"here"
    late[0].cut()


# The dialogue


def test_every_argument_arrives_as_it_is(sshd: Sshd) -> None:
    """Quotes, spaces, dollars, globs, newlines and nothing at all survive the device's shell."""
    awkward = ["a b", "it's", '"q"', "$HOME `id`", "*", "", "line\nbreak", "-n", "ünïcode", "\\"]
    program = "import sys; sys.stdout.write('\\0'.join(sys.argv[1:]))"
    with closing(ssh.connect(HOST, sshd.connection())) as transport:
        channel = transport.open(["/usr/bin/env", "python3", "-c", program, *awkward])
        channel.close_write()
        said = b""
        while piece := channel.read_some(4096):
            said += piece
    assert said.decode().split("\0") == awkward


def test_lines_and_counted_bytes_go_both_ways(sshd: Sshd) -> None:
    """A dialogue of lines and raw bytes, and the exit code and stderr at its end."""
    with closing(ssh.connect(HOST, sshd.connection())) as transport:
        channel = transport.open(["sh", "-c", "cat; echo bye >&2; exit 3"])
        channel.write(b"one\ntwo" + bytes(range(256)))
        assert channel.read_line(10) == b"one"
        assert channel.read_exactly(3) == b"two"
        assert channel.read_exactly(256) == bytes(range(256))
        channel.close_write()
        assert channel.read_some(10) == b""
        assert channel.exit_code() == 3
        assert channel.stderr() == "bye\n"


def test_a_line_longer_than_its_limit_is_refused(sshd: Sshd) -> None:
    """A device that sends no line end fills no memory."""
    with closing(ssh.connect(HOST, sshd.connection())) as transport:
        channel = transport.open(["head", "-c", "3000000", "/dev/zero"])
        with pytest.raises(
            HostError, match="its answer is no line of the dialogue: expected at most 1000 bytes"
        ):
            channel.read_line(1000)


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["no-such-python"], 127, "(exit code 127)"),
        (["sh", "-c", "echo oh no >&2; exit 4"], 4, "(exit code 4): oh no"),
        (["sh", "-c", "kill -9 $$"], -1, "(was killed, perhaps for want of memory)"),
    ],
)
def test_a_command_that_ends_early_is_told_from_a_lost_connection(
    sshd: Sshd, command: list[str], code: int, words: str
) -> None:
    """The exit code and the last line of stderr are in the message; the host was reached, so it failed."""
    with (
        closing(ssh.connect(HOST, sshd.connection())) as transport,
        pytest.raises(CommandEndedError) as raised,
    ):
        transport.open(command).read_line(100)
    assert words in raised.value.problem
    assert raised.value.exit_code_of_command == code
    assert raised.value.exit_code is ExitCode.HOST_FAILED


def test_writing_to_a_command_that_ended_ends_too(sshd: Sshd) -> None:
    """A command that reads nothing and exits stops a write of any size."""
    with closing(ssh.connect(HOST, sshd.connection())) as transport:
        channel = transport.open(["sh", "-c", "echo full >&2; exit 1"])
        with pytest.raises(CommandEndedError, match=r"exit code 1\): full"):
            channel.write(bytes(64 << 20))


def test_a_megabyte_of_stderr_stops_nothing_and_its_end_is_kept(sshd: Sshd) -> None:
    """Stderr is drained while stdout is read, and bounded."""
    with closing(ssh.connect(HOST, sshd.connection())) as transport:
        channel = transport.open(["sh", "-c", "head -c 3000000 /dev/zero >&2; echo last >&2; echo done"])
        assert channel.read_line(100) == b"done"
        assert channel.exit_code() == 0
        assert channel.stderr() == "last\n"


def test_many_bytes_stream_both_ways(sshd: Sshd) -> None:
    """Tens of megabytes arrive as they were sent; how fast is a matter of benchmarks/throughput.py."""
    data = bytes(range(256)) * (1 << 17)
    with closing(ssh.connect(HOST, sshd.connection())) as transport:
        channel = transport.open(
            ["sh", "-c", f"head -c {len(data)} | sha256sum; head -c {len(data)} /dev/zero"]
        )
        channel.write(data)
        assert channel.read_line(100).split()[0].decode() == Digest.of(data).hex
        assert channel.read_exactly(len(data)) == bytes(len(data))


def test_what_a_command_has_not_read_does_not_pile_up_at_the_server(sshd: Sshd) -> None:
    """It would take the window for it, two megabytes; a command that reads late gets all of it nevertheless."""
    data = bytes(4 << 20)
    with closing(ssh.connect(HOST, sshd.connection())) as transport:
        assert transport.round_trip_s is None
        channel = transport.open(["sh", "-c", f"sleep 1; head -c {len(data)} | wc -c"])
        assert transport.round_trip_s is not None
        assert transport.round_trip_s < 0.05
        taken = 0
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            channel.write(data[: 64 << 10])
            taken += 64 << 10
        assert taken < 1600 << 10
        channel.write(data[taken:])
        assert int(channel.read_line(100)) == len(data)


# Ends of a connection


def test_a_connection_that_is_cut_in_a_transfer_is_unreachable(sshd: Sshd, link: Callable[..., Link]) -> None:
    """A cut after 300 kB ends the write at once."""
    through = link(sshd.port, cut_after=300_000)
    sshd.record("ed25519", name="*")
    with closing(ssh.connect(HOST, sshd.connection(port=through.port))) as transport:
        channel = transport.open(["cat"])
        with pytest.raises(UnreachableError) as raised:
            channel.write(bytes(8 << 20))
    assert raised.value.problem == "the connection was cut"
    assert raised.value.hint == "check power and network; the same command again goes on from here"


@pytest.mark.parametrize("doing", ["reading", "writing"])
def test_a_link_that_goes_silent_is_found(sshd: Sshd, link: Callable[..., Link], doing: str) -> None:
    """Nothing is heard and nothing is closed: after the silence limit both a reader and a blocked writer are freed."""
    through = link(sshd.port)
    sshd.record("ed25519", name="*")
    limits = Limits(silent_s=1.5)
    with closing(ssh.connect(HOST, sshd.connection(port=through.port), limits=limits)) as transport:
        channel = transport.open(["sh", "-c", "echo ready; cat > /dev/null"])
        assert channel.read_line(10) == b"ready"
        through.silence()
        began = time.monotonic()
        with pytest.raises(UnreachableError) as raised:
            channel.read_line(10) if doing == "reading" else channel.write(bytes(64 << 20))
    assert raised.value.problem == "the connection went silent: nothing heard for 1.5 s"
    assert time.monotonic() - began < 6


def test_a_quiet_command_on_a_living_link_is_left_alone(sshd: Sshd) -> None:
    """Keepalive answers count as life: a command may think for longer than the silence limit."""
    limits = Limits(silent_s=1.0)
    with closing(ssh.connect(HOST, sshd.connection(), limits=limits)) as transport:
        assert transport.open(["sh", "-c", "sleep 2.5; echo thought"]).read_line(100) == b"thought"


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (Limits(idle_s=0.5), "the command did nothing for 0.5 s on a connection that lives"),
        (Limits(overall_s=0.5), "the dialogue took longer than 0.5 s"),
    ],
)
def test_idle_and_overall_limits_end_a_dialogue(sshd: Sshd, limits: Limits, problem: str) -> None:
    """A command that hangs costs its limit and no more."""
    with closing(ssh.connect(HOST, sshd.connection(), limits=limits)) as transport:
        began = time.monotonic()
        with pytest.raises(UnreachableError) as raised:
            transport.open(["sleep", "30"]).read_line(100)
    assert raised.value.problem == problem
    assert time.monotonic() - began < 5


def test_closing_from_another_thread_frees_who_waits(sshd: Sshd) -> None:
    """What Ctrl-C does: the transport is closed while a read waits."""
    transport = ssh.connect(HOST, sshd.connection())
    channel = transport.open(["sleep", "30"])
    threading.Timer(0.3, transport.close).start()
    began = time.monotonic()
    with pytest.raises(UnreachableError) as raised:
        channel.read_line(100)
    assert raised.value.problem == "the connection was closed"
    assert time.monotonic() - began < 5
    with pytest.raises(UnreachableError):
        transport.open(["true"])
    transport.close()


# Another user


SUDO = """#!/bin/sh
test "$1 $2 $3" = "-n -H -u" || exit 9
test "$4" = admin && { echo "sudo: a password is required" >&2; exit 1; }
test "$5" = "--" || exit 9
user=$4; shift 5; echo "as $user"; exec "$@"
"""


def test_become_runs_through_sudo_and_a_wanted_password_is_explained(
    start_sshd: Callable[..., Sshd], tmp_path: Path
) -> None:
    """The command reaches sudo as `sudo -n -H -u USER -- ...`; sudo's refusal comes back with the way out."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sudo").write_text(SUDO)
    (folder / "sudo").chmod(0o755)
    sshd = start_sshd(f"SetEnv PATH={folder}:/usr/bin:/bin\n")
    with closing(ssh.connect(HOST, sshd.connection(become=True, become_user="pi user"))) as transport:
        channel = transport.open(["echo", "two words"])
        assert [channel.read_line(100), channel.read_line(100)] == [b"as pi user", b"two words"]
    refused = sshd.connection(become=True, become_user="admin")
    with closing(ssh.connect(HOST, refused)) as transport, pytest.raises(CommandEndedError) as raised:
        transport.open(["echo"]).read_line(100)
    assert raised.value.problem == ("sudo does not let us become another user: sudo: a password is required")
    assert "NOPASSWD" in raised.value.hint


# Ways through other machines


def test_a_chain_of_jump_hosts_leads_to_the_target(start_sshd: Callable[..., Sshd]) -> None:
    """Two hops, each with its own key, and the target sees the last of them."""
    first, second, last = start_sshd(), start_sshd(), start_sshd()
    for hop in (first, second):
        (hop.folder / "authorized_keys").write_text(last.key.with_suffix(".pub").read_text())
        last.known.write_text(last.known.read_text() + hop.known.read_text())
    user = os.environ.get("USER") or "root"
    jump = f"{user}@127.0.0.1:{first.port},ssh://127.0.0.1:{second.port}"
    assert echo(last.connection(proxy_jump=jump)) == b"here"


def test_an_unknown_jump_host_is_named_and_trusted_first(start_sshd: Callable[..., Sshd]) -> None:
    """The key of a jump host is checked like any other, and `offered_keys` brings it before the target's."""
    hop, last = start_sshd(), start_sshd()
    (hop.folder / "authorized_keys").write_text(last.key.with_suffix(".pub").read_text())
    last.known.write_text("")
    connection = last.connection(proxy_jump=f"127.0.0.1:{hop.port}")
    error = refused(connection)
    assert error.problem.startswith(f"the jump host {hop.name} shows an ED25519 key that is not known")
    offer = ssh.offered_keys(HOST, connection)
    assert (offer.name, offer.hop) == (hop.name, True)
    offer.record()
    offer = ssh.offered_keys(HOST, connection)
    assert (offer.name, offer.hop) == (last.name, False)
    offer.record()
    assert echo(connection) == b"here"


def test_a_target_that_the_jump_host_cannot_reach_is_told_from_the_jump_host(
    start_sshd: Callable[..., Sshd],
) -> None:
    """The message says which leg failed."""
    hop = start_sshd()
    port = free_port()
    error = refused(hop.connection(port=port, proxy_jump=f"127.0.0.1:{hop.port}"))
    assert error.problem.startswith(f"the jump host cannot reach 127.0.0.1 port {port}")


RELAY = """
import os, pathlib, socket, sys, threading
pathlib.Path(__file__).with_name("pid").write_text(str(os.getpid()))
end = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def up():
    while piece := os.read(0, 65536):
        end.sendall(piece)
threading.Thread(target=up, daemon=True).start()
while piece := end.recv(65536):
    os.write(1, piece)
"""


def test_a_proxy_command_carries_the_connection(sshd: Sshd, tmp_path: Path) -> None:
    """%h and %p are the target's, also where the inventory sets the port; a command that fails is named."""
    relay = tmp_path / "relay.py"
    relay.write_text(RELAY)
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(relay))} %h %p"
    assert echo(sshd.connection(proxy_command=command)) == b"here"
    process = int((tmp_path / "pid").read_text())
    until = time.monotonic() + 10
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < until, "the ProxyCommand has not ended with its connection"
        time.sleep(0.01)
    error = refused(sshd.connection(proxy_command="exit 1", connect_timeout_s=2.0))
    assert error.problem == "the ProxyCommand gives no connection: exit 1"


def test_an_ssh_configuration_is_honoured(sshd: Sshd, tmp_path: Path) -> None:
    """Host aliases, HostName, Port, User, IdentityFile, UserKnownHostsFile and Include come from the file that -F names."""
    (tmp_path / "included").write_text(f"Host else\n  Port 1\nHost *\n  UserKnownHostsFile {sshd.known}\n")
    config = tmp_path / "config"
    config.write_text(
        f"Host bench-pi\n  HostName 127.0.0.1\n  Include {tmp_path / 'included'}\n  Port {sshd.port}\n"
        f'  IdentityFile "{sshd.key}"\nHost other\n  Port 2\n'
    )
    connection = Connection(kind="ssh", address="bench-pi", ssh_config_file=str(config))
    with closing(ssh.connect(HOST, connection)) as transport:
        assert transport.address.endswith(f"@127.0.0.1:{sshd.port}")
        assert transport.open(["echo", "here"]).read_line(100) == b"here"


def test_the_library_prints_nothing_by_itself(sshd: Sshd) -> None:
    """A refused start-up leaves stderr to us: no traceback of the SSH library appears."""
    program = (
        "import sys\nfrom ota.core.connection import Connection\nfrom ota.core.inventory import Host\nfrom ota.errors import OtaError\n"
        "from ota.remote import ssh\n"
        "try:\n    ssh.connect(Host(name='pi'), Connection(kind='ssh', address='127.0.0.1', port=int(sys.argv[1]), connect_timeout_s=1.0,"
        " ssh_config_file='none'))\n"
        "except OtaError as error:\n    print(error.problem)\n"
    )
    silent = Link(sshd.port)
    silent.silence()
    done = subprocess.run(
        [sys.executable, "-c", program, str(silent.port)], capture_output=True, text=True, check=True
    )
    silent.cut()
    assert done.stderr == ""
    assert done.stdout == f"no answer from 127.0.0.1 port {silent.port} within 1 s\n"


def test_known_hosts_agree_with_openssh(sshd: Sshd) -> None:
    """What `ssh-keygen -F` finds for a host, plain and hashed, is what counts as known here."""
    assert shutil.which("ssh-keygen")
    for _ in range(2):
        found = subprocess.run(
            ["ssh-keygen", "-F", sshd.name, "-f", sshd.known], capture_output=True, text=True, check=True
        )
        known = read_known_hosts((sshd.known,))
        texts = [line.split(maxsplit=1)[1] for line in found.stdout.splitlines() if not line.startswith("#")]
        assert [entry.key.text for entry in known.of(sshd.name)] == texts
        assert known.standing("elsewhere", known.entries[0].key) is Standing.UNKNOWN
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", sshd.known], check=True, capture_output=True)


# The line


@pytest.mark.skipif(not hasattr(socket, "TCP_CONGESTION"), reason="only Linux lets one choose")
def test_a_long_line_is_given_a_sender_that_bears_losses() -> None:
    """BBR, where the kernel lets everybody have it; a short line keeps what it had."""
    if "bbr" not in Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_text().split():
        pytest.skip("this kernel gives nobody BBR")
    with socket.create_server(("127.0.0.1", 0)) as server:
        ends = [socket.create_connection(server.getsockname()) for _ in range(2)]
        for end in ends:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        ssh._bear_losses(ends[0])
        ssh._bear_losses(ends[1], far_s=0.0)
        found = [end.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16) for end in ends]
        for end in ends:
            end.close()
    assert [name.rstrip(b"\0") for name in found] == [b"reno", b"bbr"]
