"""`--executor dask`: the scheduler, and the sites whose workers carry jobs out; Dask is imported here alone, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ota.cli.options import Remote, Target
from ota.core.events import Event, Warned
from ota.errors import MissingFileError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ota.workflows.sites import Sites


def check(remote: Remote, target: Target) -> None:
    """See that the options fit each other, before anything is asked or reached.

    Raises:
        UsageError: they do not.
        MissingFileError: a file of TLS is not there.
    """
    given = [name for name, value in remote.dask_options if value]
    if remote.executor == "threads":
        if given:
            raise UsageError(f"{given[0]} is for --executor dask", found="--executor threads")
        return
    if not remote.scheduler:
        raise UsageError(
            "--executor dask needs --scheduler", hint="for example: --scheduler tls://10.0.0.1:8786"
        )
    if target.ask_pass:
        raise UsageError("with --executor dask no password travels to a site", found="--ask-pass")
    files = [path for path in (remote.tls_ca, remote.tls_cert, remote.tls_key) if path is not None]
    if len(files) != (3 if remote.scheduler.startswith("tls://") else 0):
        raise UsageError(
            "TLS needs a scheduler at tls://, and all of --tls-ca, --tls-cert and --tls-key",
            found=", ".join((remote.scheduler, *given[1:])),
        )
    for path in files:
        if not path.expanduser().is_file():
            raise MissingFileError("a file of TLS is not there", where=str(path))


@contextmanager
def sites_of(remote: Remote, emit: Callable[[Event], None]) -> Iterator[Sites | None]:
    """Reach the sites that checked options name; None: jobs are carried out here.

    Raises:
        UsageError: Dask is not installed, or a worker runs another `ota`.
        UnreachableError: the scheduler is out of reach, or has no workers.
    """
    if remote.executor == "threads":
        yield None
        return
    try:
        from ota.remote.scheduler import Scheduler, Tls
        from ota.workflows.sites import Sites
    except ImportError as error:
        raise UsageError(
            "--executor dask needs Dask's scheduler, which is an extra",
            found=str(error),
            hint="pip install 'ota[dask]'",
        ) from error
    from ota.cli.at_site import hello, serve

    tls = None
    if remote.tls_ca and remote.tls_cert and remote.tls_key:
        ca, cert, key = (path.expanduser() for path in (remote.tls_ca, remote.tls_cert, remote.tls_key))
        tls = Tls(ca=ca, cert=cert, key=key)
    elif urlsplit(remote.scheduler).hostname not in {"localhost", "127.0.0.1", "::1"}:
        warning = f"whoever reaches {remote.scheduler} can run programs at every site: start scheduler and workers with TLS, and name it as tls://"
        emit(Warned(message=warning))
    with Scheduler(remote.scheduler, tls) as scheduler, Sites(scheduler, hello=hello, serve=serve) as sites:
        yield sites
