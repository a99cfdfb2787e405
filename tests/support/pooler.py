"""A pooler in PgBouncer's transaction mode: between two transactions a client has no server session of its own."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading


class Pooler:
    """Listens on 127.0.0.1:``port`` for clients without a password; its server sessions go through a trusted socket."""

    def __init__(self, socket_path: str, user: str, dbname: str) -> None:
        self._socket_path = socket_path
        self._startup = b"user\0" + user.encode() + b"\0database\0" + dbname.encode() + b"\0\0"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._idle: list[socket.socket] = []
        self._greeting = b""

    def __enter__(self) -> Pooler:
        self._idle.append(self._connect())
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for server in self._idle:
            server.close()

    def _connect(self) -> socket.socket:
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._socket_path)
        server.sendall(struct.pack("!II", len(self._startup) + 8, 196608) + self._startup)
        messages = list(_until_ready(server))
        # What a client is told at once: the server's parameters, and a process id of the pooler's own invention.
        self._greeting = b"".join(m for m in messages if m[:1] in b"RS") + b"K" + struct.pack("!III", 12, 4242, 1)
        self._greeting += b"Z" + struct.pack("!I", 5) + b"I"
        return server

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        with client, contextlib.suppress(OSError, EOFError):
            while True:
                (length,) = struct.unpack("!I", _exactly(client, 4))
                (code,) = struct.unpack("!I", _exactly(client, length - 4)[:4])
                if code == 196608:
                    break
                client.sendall(b"N")  # neither TLS nor GSSAPI
            client.sendall(self._greeting)
            while True:
                message = _message(client)
                if message[:1] == b"X":
                    break
                server = server or (self._idle.pop() if self._idle else self._connect())
                server.sendall(message)
                for answer in _until_ready(server):
                    client.sendall(answer)
                if answer[5:] == b"I":
                    self._idle.append(server)
                    server = None


def _exactly(peer: socket.socket, number: int) -> bytes:
    data = b""
    while len(data) < number:
        part = peer.recv(number - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _message(peer: socket.socket) -> bytes:
    head = _exactly(peer, 5)
    return head + _exactly(peer, struct.unpack("!I", head[1:])[0] - 4)


def _until_ready(server: socket.socket):  # type: ignore[no-untyped-def]
    while True:
        message = _message(server)
        yield message
        if message[:1] == b"Z":
            return
