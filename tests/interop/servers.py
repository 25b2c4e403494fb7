"""Servers for the programs to reach through the proxy: threads of this process, loopback only."""

import hashlib
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, StreamRequestHandler, ThreadingTCPServer, UDPServer

SECONDS = 10.0
"""No server waits longer for anything."""


def payload(size: int) -> bytes:
    """Octets without a pattern, the same ones for the same size."""
    return random.Random(size).randbytes(size)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def text(address: tuple[str, int]) -> str:
    """An address as the access log has it."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextmanager
def serving(server: "ThreadingTCPServer | UDPServer") -> Iterator[None]:
    """Run a server, which somebody else closes, in a thread for as long as the block lasts. It does not look around
    now and then: each look would ask for the interpreter's lock.
    """
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": None})
    thread.start()
    try:
        yield
    finally:
        ending = threading.Thread(target=server.shutdown)
        ending.start()
        while thread.is_alive():
            _wake(server)
            thread.join(0.02)
        ending.join()


def _wake(server: "ThreadingTCPServer | UDPServer") -> None:
    if server.socket_type == socket.SOCK_DGRAM:
        with socket.socket(server.address_family, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", server.server_address)
    else:
        with suppress(OSError):  # the second time
            server.socket.shutdown(socket.SHUT_RDWR)


class _WebHandler(BaseHTTPRequestHandler):
    """GET gives a page, PUT the checksum of what was sent."""

    protocol_version = "HTTP/1.1"
    timeout = SECONDS
    server: "Web"

    def do_GET(self) -> None:
        if self.path in self.server.pages:
            self._answer(*self.server.pages[self.path])
        else:
            self.send_error(404)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer("text/plain", sha256(body).encode())

    def _answer(self, kind: str, body: bytes) -> None:
        self.server.requests.append((self.path, text(self.client_address)))
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Web(ThreadingHTTPServer):
    """An HTTP server.

    :ivar pages: content type and octets for each path.
    :ivar requests: each request's path and whom it came from.
    """

    daemon_threads = True
    request_queue_size = 128  # its own 5 would make a burst of connections wait a second

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.pages = {"/": ("text/plain", b"a page")}
        self.requests: list[tuple[str, str]] = []
        super().__init__((host, 0), _WebHandler)

    @property
    def address(self) -> str:
        """HOST:PORT, as URLs and the access log have it."""
        return text(self.server_address)

    @property
    def port(self) -> int:
        return self.server_address[1]

    @property
    def clients(self) -> set[str]:
        """Whom requests came from: with a proxy in between, its outbound addresses."""
        return {client for _, client in self.requests}


class _EchoHandler(BaseRequestHandler):
    server: "Echo"

    def handle(self) -> None:
        data, reply = self.request
        self.server.senders.add(self.client_address[:2])
        reply.sendto(data, self.client_address)


class Echo(UDPServer):
    """A UDP server that sends everything back.

    :ivar senders: whom datagrams came from.
    """

    max_packet_size = 65535

    def __init__(self) -> None:
        self.senders: set[tuple[str, int]] = set()
        super().__init__(("127.0.0.1", 0), _EchoHandler)


class _FTPHandler(StreamRequestHandler):
    """Active mode only: this side opens every data connection."""

    timeout = SECONDS
    server: "FTP"

    def handle(self) -> None:
        said = {"USER": "230 logged in", "TYPE": "200 so be it", "PWD": '257 "/"'}
        self._say("220 ready")
        for line in self.rfile:
            verb, _, argument = line.decode().strip().partition(" ")
            if verb == "RETR":
                self._send()
            elif verb == "EPRT":
                _, _, host, port, _ = argument.split("|")
                self.address = (host, int(port))
                self._say("200 so be it")
            else:
                self._say(said.get(verb, "502 not implemented"))

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def _send(self) -> None:
        """Over a data connection from the address that the control connection reached."""
        self._say("150 here it comes")
        source = (self.connection.getsockname()[0], 0)
        with socket.create_connection(self.address, SECONDS, source) as connection:
            self.server.data_addresses.append(text(connection.getsockname()))
            connection.sendall(self.server.file)
        self._say("226 sent")


class FTP(ThreadingTCPServer):
    """An FTP server that has one *file*, and knows active mode only.

    :ivar data_addresses: where its data connections came from.
    """

    daemon_threads = True

    def __init__(self, host: str, file: bytes) -> None:
        self.file = file
        self.data_addresses: list[str] = []
        super().__init__((host, 0), _FTPHandler)

    @property
    def address(self) -> str:
        return text(self.server_address)


def receive_all(connection: socket.socket) -> bytes:
    """What the other side sends until its end."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def fetch(connection: socket.socket, path: str = "/") -> bytes:
    """Ask a :class:`Web` for a page over a connection to it."""
    connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    head, _, body = receive_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return body


def is_served(port: int) -> bool:
    """Whether somebody listens on this port of 127.0.0.1."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
