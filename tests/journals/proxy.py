"""A way to the server that can be cut: what is asked still gets there, the answer does not come back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from .stores import SERVER


class Proxy:
    """Passes bytes on between clients and the server, in threads.

    Attributes:
        cuts: how many answers to swallow, each with its connection, from now on.
        closed: whether new connections are refused.
    """

    def __init__(self) -> None:
        self.cuts: int = 0
        self.closed: bool = False
        self.wanted: Callable[[bytes], bool] = lambda asked: True
        self._last = b""
        parts = urlsplit(SERVER)
        self._server = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.dsn: str = f"postgresql://{parts.username or 'postgres'}@127.0.0.1:{port}{parts.path}"
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_answer(self, to: bytes, times: int = 1) -> None:
        """Swallow the next answers to what has some words in it."""
        self.wanted = lambda asked: to in asked
        self.cuts = times

    def cut(self) -> None:
        """End all connections."""
        for one in self._sockets:
            self._end(one)
        self._sockets.clear()

    def end(self) -> None:
        """End everything."""
        self.closed = True
        self._end(self._listener)
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.closed:
                    self._end(client)
                    continue
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                threading.Thread(target=self._there, args=(client, server), daemon=True).start()
                threading.Thread(target=self._back, args=(server, client), daemon=True).start()

    def _there(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while asked := client.recv(65536):
                self._last = asked
                server.sendall(asked)
        self._end(server)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while answer := server.recv(65536):
                if self.cuts and self.wanted(self._last):
                    self.cuts -= 1
                    break
                client.sendall(answer)
        self._end(client)
        self._end(server)

    def _end(self, one: socket.socket) -> None:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
