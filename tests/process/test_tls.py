"""TLS by the running program: in several processes, and with certificates that change."""

import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from tests.process.program import (
    COMMANDS,
    CONNECT,
    Program,
    client_of,
    echoes,
    poll,
    reply,
    request,
    running,
)
from tests.support.certificates import Authority, strict_client


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path)
    made.server()
    return made


def options(authority: Authority, *others: str) -> list[str]:
    where = "tls:0:interface=127.0.0.1:cert=server.pem"
    place = f"{where}:clients={authority.path}"
    return ["--listen", place, "--access-log", "access.log", *others]


def connect(program: Program, authority: Authority, own: Path) -> ssl.SSLSocket:
    plain = client_of(("127.0.0.1", program.port))
    return strict_client(authority.path, own).wrap_socket(plain, server_hostname="localhost")


def serial_number(client: ssl.SSLSocket) -> int:
    certificate = client.getpeercert()
    assert certificate is not None
    return int(str(certificate["serialNumber"]), 16)


def test_each_worker_reads_the_new_certificate(
    authority: Authority, tmp_path: Path, echo: tuple[str, int]
) -> None:
    anna = authority.client("anna")
    command = [*COMMANDS["twistd"], *options(authority, "--workers=2")]
    with running(tmp_path, command) as program:

        def both_serve() -> bool:
            with connect(program, authority, anna) as client:
                request(client, CONNECT, *echo)
            found = {(record["user"], record["worker"]) for record in program.records}
            return found == {("anna", 1), ("anna", 2)}

        poll(both_serve, "both workers have begun")
        with connect(program, authority, anna) as old:
            request(old, CONNECT, *echo)
            assert reply(old)[0] == 0
            fresh = authority.server("renewed.pem")
            renewed = x509.load_pem_x509_certificate(fresh.read_bytes()).serial_number
            os.replace(fresh, tmp_path / "server.pem")

            def said() -> bool:
                connect(program, authority, anna).close()
                lines = [line for line in program.messages if "are read again" in line]
                return len(lines) == 2

            poll(said, "both workers say so")
            for _ in range(16):
                with connect(program, authority, anna) as new:
                    assert serial_number(new) == renewed
            assert serial_number(old) != renewed
            assert echoes(old)
        program.terminate()
