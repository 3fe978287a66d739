"""A TCP proxy like a Kubernetes Service: new connections reach the server of the moment, kept ones stay."""

import socket
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Service:
    """A Service in threads.

    Args:
        address: Address of the server that new connections reach, which may be changed at any time.

    Attributes:
        url: Address of the Service.
        accepted: Number of connections that were accepted.
        open_connections: Number of connections that neither side has closed.
    """

    def __init__(self, address: str) -> None:
        self.address, self.accepted, self.open_connections = address, 0, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            target = urlsplit(self.address)
            server = socket.create_connection((str(target.hostname), int(target.port or 80)))
            for connection in (client, server):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._count(1)
            self.accepted += 1
            threading.Thread(target=self._forward_answers, args=(client, server), daemon=True).start()

    def _forward_answers(self, client: socket.socket, server: socket.socket) -> None:
        requests = threading.Thread(target=_forward, args=(client, server), daemon=True)
        requests.start()
        _forward(server, client)
        requests.join()
        client.close()
        server.close()
        self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self.open_connections += change


def _forward(source: socket.socket, target: socket.socket) -> None:
    """Copy bytes until the source ends, then end the target."""
    try:
        while data := source.recv(2**16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
