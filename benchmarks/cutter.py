"""A line to a device that is cut in mid-transfer: what real links do, on demand."""

from __future__ import annotations

import socket
import threading


class Cutter:
    """A TCP relay to a device that cuts the connection once so many bytes have come from the controller; 0: never."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.after = 0
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
            threading.Thread(target=self._carry, args=(near, far, self.after), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, 0), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, after: int) -> None:
        carried = 0
        try:
            while chunk := source.recv(16384):
                carried += len(chunk)
                if after and carried > after:
                    break
                sink.sendall(chunk)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
