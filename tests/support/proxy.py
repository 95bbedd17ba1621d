"""A proxy before PostgreSQL that can cut a connection at the worst moment."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Literal
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

Cut = Literal["before", "after"]
CHUNK = 65536
BIND_COMPLETE = b"2\x00\x00\x00\x04"
"""How the answer to an executed statement begins (that to a prepared one is only a ParseComplete).

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""


class Proxy:
    """Listens on loopback and passes everything on, until it is told to cut.

    ``cut_next("before")`` drops the connection that sends the next statement, and the statement with it;
    ``cut_next("after")`` lets the server work, and drops the connection when the rows of its answer come.
    """

    def __init__(self, server_url: str) -> None:
        self._target = {key: str(value) for key, value in conninfo_to_dict(server_url).items() if value is not None}
        self._cut: Cut | None = None
        self._everyone = False
        self._clients: list[socket.socket] = []
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        path = urlsplit(server_url).path
        port = self._listener.getsockname()[1]
        self.url = f"postgresql://{self._target.get('user', 'postgres')}@127.0.0.1:{port}{path}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_next(self, cut: Cut, *, everyone: bool = False) -> None:
        """Arms the proxy for one cut; ``everyone``: then of all connections, as when the server starts again."""
        self._cut, self._everyone = cut, everyone

    def close(self) -> None:
        """Takes no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = self._connect()
                self._clients.append(client)
                for source, target, direction in ((client, server, "before"), (server, client, "after")):
                    arguments = (source, target, direction)
                    threading.Thread(target=self._pass_on, args=arguments, daemon=True).start()

    def _cut_others(self) -> None:
        for client in self._clients if self._everyone else ():
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _connect(self) -> socket.socket:
        host, port = self._target.get("host", "127.0.0.1"), self._target.get("port", "5432")
        if not host.startswith("/"):
            return socket.create_connection((host, int(port)))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _pass_on(self, source: socket.socket, target: socket.socket, direction: str) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if self._cut == direction and (direction == "before" or data.startswith(BIND_COMPLETE)):
                    self._cut = None
                    self.cuts += 1
                    self._cut_others()
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
