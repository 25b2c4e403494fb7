"""TLS by the running program: in several processes, and with certificates that change."""

import os
import ssl
from pathlib import Path

from cryptography import x509

from tests.process.program import (
    COMMANDS,
    CONNECT,
    client_of,
    echoes,
    poll,
    reply,
    request,
    running,
)
from tests.support.certificates import Authority, strict_client


def serial_number(client: ssl.SSLSocket) -> int:
    certificate = client.getpeercert()
    assert certificate is not None
    return int(str(certificate["serialNumber"]), 16)


def test_each_worker_reads_the_new_certificate(tmp_path: Path, echo: tuple[str, int]) -> None:
    """By whatever way they were started, and users are known by theirs."""
    authority = Authority(tmp_path)
    authority.server()
    context = strict_client(authority.path, authority.client("anna"))
    where = f"tls:0:interface=127.0.0.1:cert=server.pem:clients={authority.path}"
    options = ["--listen", where, "--access-log", "access.log", "--workers=2"]
    with running(tmp_path, [*COMMANDS["twistd"], *options]) as program:

        def connect() -> ssl.SSLSocket:
            plain = client_of(("127.0.0.1", program.port))
            return context.wrap_socket(plain, server_hostname="localhost")

        def both_serve() -> bool:
            with connect() as client:
                request(client, CONNECT, *echo)
            found = {(record["user"], record["worker"]) for record in program.records}
            return found == {("anna", 1), ("anna", 2)}

        poll(both_serve, "both workers have begun")
        with connect() as old:
            request(old, CONNECT, *echo)
            assert reply(old)[0] == 0
            fresh = authority.server("renewed.pem")
            renewed = x509.load_pem_x509_certificate(fresh.read_bytes()).serial_number
            os.replace(fresh, tmp_path / "server.pem")

            def said() -> bool:
                connect().close()
                lines = [line for line in program.messages if "are read again" in line]
                return len(lines) == 2

            poll(said, "both workers say so")
            for _ in range(16):
                with connect() as new:
                    assert serial_number(new) == renewed
            assert serial_number(old) != renewed
            assert echoes(old)
        program.terminate()
