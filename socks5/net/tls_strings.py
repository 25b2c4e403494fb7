"""The string for a listener with TLS, ``tls:PORT:cert=FILE``.

Parsed here and not by a plugin, for Twisted has a ``tls:`` of its own: a folder of certificates, which stays as
it is.
"""

from __future__ import annotations

import os
import re

from socks5.net.certificate_files import Files, Unusable
from socks5.net.certificate_names import NAMES
from socks5.net.places import TCP

FORM = (
    "tls:PORT:cert=FILE[:key=FILE][:interface=ADDRESS][:clients=FILE]"
    "[:client-certificates=required|optional][:client-name=email|dns|uri|cn]"
)
"""What is parsed here."""

_OPTIONS = frozenset({"cert", "key", "interface", "clients", "client-certificates", "client-name"})


def tls_from(description: str) -> tuple[TCP, Files] | None:
    """What a string says.

    :returns: None if it is for Twisted: it does not begin with ``tls:``, or has neither a
        number for its first word nor a ``cert``.
    :raises Unusable: something is wrong with it. The files are not read.
    """
    words, options = _split(description)
    kind, *ports = words or [""]
    if kind != "tls":
        return None
    if not ("cert" in options or re.fullmatch("[0-9]+", "".join(ports[:1]))):
        _check_folder("".join(ports[:1]))
        return None
    if not (len(ports) == 1 and re.fullmatch("[0-9]{1,5}", ports[0]) and int(ports[0]) <= 65535):
        raise Unusable(f"expected one port, from 0 to 65535, in {FORM}")
    if unknown := sorted(options.keys() - _OPTIONS):
        raise Unusable(f"{unknown[0]}=: expected {FORM}")
    return TCP(int(ports[0]), options.get("interface", "")), _files(options)


def _check_folder(path: str) -> None:
    """Twisted serves TLS from a folder, and says nothing about one that has no certificate.

    :raises Unusable: so it is.
    """
    try:
        is_usable = any(name.endswith(".pem") for name in os.listdir(path or "."))
    except OSError:
        is_usable = False
    if not (path and is_usable):
        raise Unusable(
            f"{path or 'no port'}: expected a folder of PEM files with keys and certificates, or {FORM}"
        )


def _split(description: str) -> tuple[list[str], dict[str, str]]:
    """Words and options between colons; a backslash takes a colon's meaning, as in Twisted's strings."""
    words: list[str] = []
    options: dict[str, str] = {}
    for part in re.findall(r"(?:\\.|[^:\\])+", description):
        name, is_option, value = part.partition("=")
        text = re.sub(r"\\(.)", r"\1", value if is_option else name)
        if is_option:
            options[name] = text
        else:
            words.append(text)
    return words, options


def _files(options: dict[str, str]) -> Files:
    """:raises Unusable: an option is missing, or has no such value."""
    if not options.get("cert"):
        raise Unusable(
            f"cert=FILE is missing: expected {FORM}, or tls:DIRECTORY:PORT, a folder of PEM files"
        )
    for about in ("client-certificates", "client-name"):
        if about in options and "clients" not in options:
            raise Unusable(
                f"{about}= is about clients' certificates: expected clients=FILE with it"
            )
    must = options.get("client-certificates", "required")
    if must not in ("required", "optional"):
        raise Unusable(f"client-certificates={must}: expected required or optional")
    name = options.get("client-name")
    if name is not None and name not in NAMES:
        raise Unusable(f"client-name={name}: expected {' or '.join(NAMES)}")
    paths = {
        key: os.path.abspath(options[key]) for key in ("cert", "key", "clients") if key in options
    }
    return Files(
        cert=paths["cert"],
        key=paths.get("key", paths["cert"]),
        clients=paths.get("clients"),
        is_required=must == "required",
        names=tuple(NAMES) if name is None else (name,),
    )
