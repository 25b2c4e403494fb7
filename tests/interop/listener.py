"""A program that listens for one connection, for socksify to run; it knows nothing of proxies.

Says where it listens and who came, then answers what it receives with its size and ends. Calls the
accept of the C library itself, because Python's own is accept4, which dante does not wrap.
"""

import ctypes
import socket
import sys


def accept(listening: socket.socket) -> tuple[socket.socket, str]:
    peer = ctypes.create_string_buffer(16)
    size = ctypes.c_uint32(len(peer))
    number = ctypes.CDLL(None).accept(listening.fileno(), peer, ctypes.byref(size))
    if number < 0:
        raise OSError("accept failed")
    port = int.from_bytes(peer.raw[2:4], "big")
    return socket.socket(fileno=number), f"{socket.inet_ntoa(peer.raw[4:8])}:{port}"


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main() -> None:
    with socket.socket() as listening:
        listening.bind(("", int(sys.argv[1])))
        listening.listen(1)
        say("listens", "{}:{}".format(*listening.getsockname()))
        connection, peer = accept(listening)
        with connection:
            say("accepted", peer)
            received = sum(map(len, iter(lambda: connection.recv(65536), b"")))
            connection.sendall(f"{received} octets".encode())
        say("done")


if __name__ == "__main__":
    main()
