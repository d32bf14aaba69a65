"""A Transport over SSH: fabric's Connection over paramiko, one per device and command.

Invariants: no word is said to a machine, target or jump host, whose key is not recorded; a password is asked for when it is needed and kept
nowhere; every attempt and every wait has an end. fabric adds unknown keys by itself unless it is stopped: `_Dialer` stops it.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from fabric import Config
from fabric import Connection as FabricConnection
from paramiko.auth_strategy import (
    AuthFailure,
    AuthResult,
    AuthSource,
    AuthStrategy,
    InMemoryPrivateKey,
    SourceResult,
)
from paramiko.auth_strategy import Password as PasswordSource
from paramiko.common import cMSG_CHANNEL_REQUEST
from paramiko.pkey import PublicBlob
from paramiko.ssh_exception import IncompatiblePeer, NoValidConnectionsError

from ota.core.connection import Connection
from ota.core.inventory import Host
from ota.errors import OtaError
from ota.remote import ssh_refusals
from ota.remote.ssh_pipe import (
    ASK_EVERY_S,
    Login,
    SshChannel,
    SshTransport,
    least_round_trip_s,
    through_command,
)
from ota.remote.ssh_settings import Endpoint, jump_hosts, target
from ota.remote.transport import Limits
from ota.remote.trust import RSA_ALGORITHMS, HostKey, Offer, Standing, files_of, read_known_hosts, refusal

Password = Callable[[], "str | None"]
"""Returns the SSH password when it is needed, None where there is none."""

_WINDOW_BYTES = 16 * 1024 * 1024
_START_UPS = 6
"""Attempts on a server that hangs up before it says anything, as sshd does above MaxStartups."""
_BACKOFF_S = 0.3
_LONGEST_BACKOFF_S = 5.0
_KEY_KINDS = (("ssh-ed25519",), tuple(f"ecdsa-sha2-nistp{bits}" for bits in (256, 384, 521)), RSA_ALGORITHMS)
_FAULTS = (paramiko.SSHException, OSError, EOFError)
_FAR_S = 0.02
"""A round trip that takes so long crosses more than a local network."""
_FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""Encryption and checksum in one pass."""


def connect(
    host: Host, connection: Connection, *, password: Password | None = None, limits: Limits | None = None
) -> SshTransport:
    """Sign in to `host`, through its jump hosts, and return the way to it.

    `password` is for the target alone; a jump host is signed in to with keys.

    Raises:
        UnreachableError: it cannot be reached or does not let us in; the message says which, and what to do.
        HostKeyError: a key on the way is unknown, changed or revoked.
        ContentError, MissingFileError: the SSH configuration cannot be used.
    """
    ssh_refusals.silence_library()
    limits = limits or Limits()
    dialer = _Dialer(host.name, connection, limits)
    end = target(connection, _lookup)
    chain: list[FabricConnection] = []
    try:
        for hop in jump_hosts(end, connection, _lookup):
            chain.append(dialer.dial(hop, chain, hop=True))
        used: list[str | None] = []
        chain.append(dialer.dial(end, chain, password=password, told=used.append))
    except BaseException:
        _close(chain)
        raise
    return SshTransport(
        host=host.name,
        login=Login(address=end.text, public_key=used[0]),
        connection=connection,
        limits=limits,
        session=_Session(chain[-1].transport),
        keepalive_s=float(end.keepalive_s or min(ASK_EVERY_S, limits.silent_s / 4)),
        close=lambda: _close(chain),
        faults=_FAULTS,
    )


def offered_keys(host: Host, connection: Connection, *, limits: Limits | None = None) -> Offer:
    """Fetch the keys of the first machine on the way to `host` that is not known yet, else of the target, without signing in to it.

    Raises:
        UnreachableError: it cannot be reached.
    """
    ssh_refusals.silence_library()
    dialer = _Dialer(host.name, connection, limits or Limits())
    end = target(connection, _lookup)
    chain: list[FabricConnection] = []
    try:
        for hop in jump_hosts(end, connection, _lookup):
            offer = dialer.offer(hop, chain, hop=True)
            if len(offer.unknown) == len(offer.keys):
                return offer
            chain.append(dialer.dial(hop, chain, hop=True))
        return dialer.offer(end, chain)
    finally:
        _close(chain)


@dataclass(frozen=True, slots=True)
class _Dialer:
    """Opens connections for one host of the inventory."""

    host: str
    connection: Connection
    limits: Limits

    def dial(
        self,
        end: Endpoint,
        chain: Sequence[FabricConnection],
        *,
        hop: bool = False,
        password: Password | None = None,
        told: Callable[[str | None], None] = lambda _: None,
    ) -> FabricConnection:
        """Connect and sign in through `chain`, again after a wait where another attempt may help; `told` hears which key let us in."""
        via = chain[-1] if chain else None
        attempt = 0
        while True:
            made = self._connection(end, via, hop=hop)
            sign_in = _SignIn(end, password)
            begun = time.monotonic()
            made.connect_kwargs["auth_strategy"] = sign_in
            try:
                made.open()
            except BaseException as error:
                made.client.close()
                attempt += 1
                if not isinstance(error, _FAULTS):
                    raise
                if ssh_refusals.is_hang_up(error) and time.monotonic() - begun >= end.connect_timeout_s:
                    error = TimeoutError()  # a server that says nothing is silent, not crowded
                if attempt >= self._attempts(error, end):
                    raise self._unreachable(error, end, sign_in) from error
            else:
                made.connect_kwargs.clear()
                told(sign_in.used)
                return made
            longest = min(_LONGEST_BACKOFF_S, _BACKOFF_S * 2**attempt)
            time.sleep(random.uniform(longest / 2, longest))  # noqa: S311  # so that forks do not come back together

    def offer(self, end: Endpoint, chain: Sequence[FabricConnection], *, hop: bool = False) -> Offer:
        """Ask a machine for each kind of key that it has."""
        keys: list[HostKey] = []
        for kinds in _KEY_KINDS:
            transport = None
            try:
                transport = self._raw(end, chain)
                transport.get_security_options().key_types = kinds
                transport.start_client(timeout=self.limits.connect_s)
                keys.append(HostKey.of(transport.get_remote_server_key()))
            except IncompatiblePeer:
                continue
            except _FAULTS as error:
                raise self._unreachable(error, end, None) from error
            finally:
                if transport is not None:
                    transport.close()
        return Offer(
            name=end.known_name, address=end.text, keys=tuple(keys), hop=hop, files=self._known_files(end)
        )

    def _raw(self, end: Endpoint, chain: Sequence[FabricConnection]) -> paramiko.Transport:
        place = (end.address, end.port)
        if chain:
            return paramiko.Transport(chain[-1].transport.open_channel("direct-tcpip", place, ("", 0)))
        if end.proxy_command is not None:
            return paramiko.Transport(through_command(end.proxy_command))
        return paramiko.Transport(socket.create_connection(place, end.connect_timeout_s))

    def _connection(self, end: Endpoint, via: FabricConnection | None, *, hop: bool) -> FabricConnection:
        known = read_known_hosts(self._known_files(end))

        def check(shown: HostKey) -> None:
            if known.standing(end.known_name, shown) is not Standing.KNOWN:
                raise refusal(self.host, end.known_name, shown, known, hop=hop)

        seconds = end.connect_timeout_s
        options: dict[str, object] = {
            "timeout": seconds,
            "banner_timeout": seconds,
            "auth_timeout": max(seconds, self.limits.connect_s),
            "channel_timeout": seconds,
            "compress": end.compression,
            "transport_factory": _factory(known.algorithms(end.known_name)),
        }
        if end.proxy_command is not None and via is None:
            options["sock"] = through_command(end.proxy_command)
        made = FabricConnection(
            end.address,
            user=end.user,
            port=end.port,
            gateway=via if via is not None else False,
            config=Config(lazy=True, ssh_config=paramiko.SSHConfig()),
            connect_kwargs=options,
        )
        made.client.set_missing_host_key_policy(_RecordedOnly(check))
        return made

    def _known_files(self, end: Endpoint) -> tuple[Path, ...]:
        return files_of(end.known_hosts_files or self.connection.known_hosts_files)

    def _attempts(self, error: Exception, end: Endpoint) -> int:
        if isinstance(error, paramiko.AuthenticationException | socket.gaierror):
            return 1
        crowded = ssh_refusals.is_hang_up(error) and end.proxy_command is None
        return max(_START_UPS if crowded else 1, self.connection.retries + 1)

    def _unreachable(self, error: Exception, end: Endpoint, sign_in: _SignIn | None) -> OtaError:
        if isinstance(error, AuthFailure) and sign_in is not None:
            hung_up = any("shut down" in str(each.result) for each in error.result)
            return ssh_refusals.not_let_in(self.host, end, sign_in.tried, hung_up=hung_up)
        if isinstance(error, NoValidConnectionsError):
            error = next(iter(error.errors.values()))
        if isinstance(error, paramiko.ChannelException):
            return ssh_refusals.jump_failed(self.host, end, error)
        return ssh_refusals.unreachable(self.host, end, error)


class _Session:
    """An open connection; see SshSession."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self._transport = transport
        self.sock = transport.sock
        self.is_active, self.close, self.global_request = (
            transport.is_active,
            transport.close,
            transport.global_request,
        )

    def open_channel(self, *, timeout: float) -> paramiko.Channel:
        """Open a channel."""
        return self._transport.open_session(timeout=timeout)

    def start(self, channel: SshChannel, command: str) -> None:
        """Start a command as the library's `exec_command` does, without its wait for the server's word (RFC 4254, 6.5): what the command says comes no sooner."""
        request = paramiko.Message()
        request.add_byte(cMSG_CHANNEL_REQUEST)
        request.add_int(channel.remote_chanid)
        request.add_string("exec")
        request.add_boolean(True)  # noqa: FBT003 - the library's own signature
        request.add_string(command)
        self._transport._send_user_message(request)  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way to send one and not wait


class _RecordedOnly(paramiko.MissingHostKeyPolicy):
    """Lets a connection go on only when `check` does not raise; paramiko knows no keys itself, so it asks for each."""

    def __init__(self, check: Callable[[HostKey], None]) -> None:
        self._check = check

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        """Check the key that a machine shows."""
        self._check(HostKey.of(key))


class _SignIn(AuthStrategy):
    """What to sign in with, in OpenSSH's order: named key files, the agent's keys, the default files, the password; `used` is the key that was tried last."""

    def __init__(self, end: Endpoint, password: Password | None) -> None:
        super().__init__(ssh_config=paramiko.SSHConfig())
        self._end, self._password = end, password
        self.tried: list[str] = []
        self.used: str | None = None

    def authenticate(self, transport: paramiko.Transport) -> list[SourceResult]:
        """Sign in; a server that wants a second proof after the first is given up."""
        results = super().authenticate(transport)
        if not transport.is_authenticated():
            raise AuthFailure(cast("AuthResult", results))
        return results

    def get_sources(self) -> Iterator[AuthSource]:
        """Yield one source after the other; the next is prepared only when the one before was refused."""
        end = self._end
        with suppress(paramiko.SSHException):
            agent = paramiko.Agent()
            held = {key.asbytes(): key for key in agent.get_keys()}
            for file in end.key_files:
                yield from self._from_file(file, held)
            for key in () if end.identities_only else held.values():
                self.tried.append(f"the agent's {key.get_name()} key")
                self.used = HostKey.of(key).text
                yield InMemoryPrivateKey(end.user, key)
            agent.close()
        secret = self._password() if self._password else None
        if secret is not None:
            self.tried.append("the password")
            self.used = None
            yield PasswordSource(end.user, lambda: secret)

    def _from_file(self, file: Path, held: dict[bytes, paramiko.AgentKey]) -> Iterator[AuthSource]:
        key: paramiko.PKey | None = None
        with suppress(OSError, ValueError, IndexError):
            key = held.pop(PublicBlob.from_file(f"{file}.pub").key_blob, None)
        try:
            key = key or paramiko.PKey.from_path(file)
        except FileNotFoundError:
            return
        except (TypeError, OSError, ValueError, UnsupportedAlgorithm, paramiko.SSHException) as error:
            why = (
                "has a passphrase: ssh-add it"
                if isinstance(error, TypeError)
                else "is no private key that can be read"
            )
            self.tried.append(f"{file} ({why})")
            return
        self.tried.append(str(file))
        self.used = HostKey.of(key).text
        yield InMemoryPrivateKey(self._end.user, key)


def _factory(known_algorithms: Sequence[str]) -> Callable[..., paramiko.Transport]:
    """Return a maker of transports that ask for the recorded kinds of key first, as OpenSSH does, and move data fast."""

    def make(sock: socket.socket, **options: object) -> paramiko.Transport:
        # A jump host's channel and a ProxyCommand's pair of sockets know no TCP.
        if getattr(sock, "family", None) in {socket.AF_INET, socket.AF_INET6}:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _bear_losses(sock)
        transport = paramiko.Transport(sock, default_window_size=_WINDOW_BYTES, **options)  # type: ignore[arg-type]  # paramiko's own options
        security = transport.get_security_options()
        security.key_types = _preferring(known_algorithms, security.key_types)
        security.ciphers = _preferring(_FAST_CIPHERS, security.ciphers)
        return transport

    return make


def _bear_losses(sock: socket.socket, far_s: float = _FAR_S) -> None:
    """Ask for BBR on a long line where the kernel lets us: it takes a lost packet for a lost packet, where others take it for a full line and halve their rate."""
    far = (least_round_trip_s(sock) or 0.0) > far_s
    if far and hasattr(socket, "TCP_CONGESTION"):
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr")


def _preferring(first: Sequence[str], offered: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([name for name in first if name in offered] + list(offered)))


def _lookup(text: str, host: str) -> Mapping[str, object]:
    try:
        return dict(paramiko.SSHConfig.from_text(text).lookup(host))
    except (paramiko.ConfigParseError, paramiko.CouldNotCanonicalize, KeyError) as error:
        raise ValueError(str(error)) from error


def _close(chain: Sequence[FabricConnection]) -> None:
    for connection in reversed(chain):
        with suppress(*_FAULTS):
            connection.client.close()
