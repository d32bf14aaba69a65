"""A line to a device that is cut in mid-transfer: what real links do, on demand."""

from __future__ import annotations

import socket
import threading
import time


class Cutter:
    """A TCP relay to a device that cuts the connection once so many bytes have come from the controller; 0: never. `carried` counts what reached the device.

    It carries `bytes_per_s` from the controller, as a real line does; 0: as much as comes.
    """

    def __init__(self, target: int, *, bytes_per_s: float = 0) -> None:
        self.target = target
        self.bytes_per_s = bytes_per_s
        self.after = 0
        self.carried = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept nothing more."""
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(
                target=self._carry, args=(near, far, self.after), kwargs={"forth": True}, daemon=True
            ).start()
            threading.Thread(
                target=self._carry, args=(far, near, 0), kwargs={"forth": False}, daemon=True
            ).start()

    def _carry(self, source: socket.socket, sink: socket.socket, after: int, *, forth: bool) -> None:
        carried = 0
        try:
            while chunk := source.recv(16384):
                carried += len(chunk)
                if after and carried > after:
                    break
                sink.sendall(chunk)
                if forth:
                    self.carried += len(chunk)
                    if self.bytes_per_s:
                        time.sleep(len(chunk) / self.bytes_per_s)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
