"""How sentences call what they advise: as a file has it, or as options do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wording:
    """Words for what can be said. ``{}`` stands for a value.

    :param gssapi: what makes logins by ticket.
    :param users: a source of users.
    :param secrets: one that serves for CHAP.
    :param any_login: any of those.
    :param methods: chooses the logins of a listener.
    :param all_methods: where those are said.
    :param clients: lets in some networks.
    :param client_ca: requires certificates.
    :param proxies: names the senders of PROXY headers.
    :param is_open: lets in everybody.
    :param family: chooses the family of addresses.
    :param system_resolver: asks all that nsswitch.conf names.
    :param another_listener: one that was said before.
    :param plain_secret: of a secret that others may see; {} is what would be better.
    """

    gssapi: str
    users: str
    secrets: str
    any_login: str
    methods: str
    all_methods: str
    clients: str
    client_ca: str
    proxies: str
    is_open: str
    family: str
    system_resolver: str
    another_listener: str
    plain_secret: str


IN_A_FILE = Wording(
    gssapi="[gssapi]",
    users="an [auth.NAME]",
    secrets='an [auth.NAME] of type = "secrets"',
    any_login="an [auth.NAME], or [gssapi], so that users log in",
    methods='methods = "{}"',
    all_methods="their methods",
    clients='clients = "NETWORK"',
    client_ca="client_ca in its tls",
    proxies="proxy_from",
    is_open="open = true",
    family='outgoing_family = "{}"',
    system_resolver='source = "system"',
    another_listener="listener {}",
    plain_secret="a secret in plain text; better {} or the like",
)

AS_OPTIONS = Wording(
    gssapi="--gssapi SERVICE",
    users="--auth TYPE:ARGS",
    secrets="--auth secrets:FILE",
    any_login="--auth TYPE:ARGS, so that users log in (see --help-auth, or --gssapi for Kerberos)",
    methods="--methods {}",
    all_methods="--methods",
    clients="--clients NETWORK behind it",
    client_ca="clients=FILE in it",
    proxies="--proxy-from",
    is_open="--open",
    family="--outgoing-family {}",
    system_resolver="--resolver system",
    another_listener="another listener",
    plain_secret=(
        "every user of this machine can read these passwords in the list of processes; better: --auth htpasswd:FILE, "
        "or htpasswd:credential=NAME in a systemd service"
    ),
)
