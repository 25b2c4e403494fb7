"""The numbers and choices of a server, as values: every default with its reason.

Time is in seconds, sizes in octets. A :class:`Settings` never changes; a new one replaces it as a
whole (``dataclasses.replace``), so a session that has begun keeps the one it began with. Nobody else keeps a copy:
what outlives a session asks for those of the moment (:func:`current`). A :class:`Capacity` is never replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from socks5.protocol.datagram import MAX_UDP_PAYLOAD
from socks5.protocol.messages import Command, Method
from socks5.protocol.networks import NO_NETWORKS, Networks


class UDPPin(StrEnum):
    """Which datagrams of the control connection's peer belong to its association; other hosts'
    never do.
    """

    IP = "ip"
    """From any port; answers go to the port that sent the latest valid datagram. Clients behind a
    NAT, and games that open a new socket, keep working."""

    IP_PORT = "ip+port"
    """From the port of the first valid datagram only."""

    ANNOUNCED = "announced"
    """From the address and port that the request named; what it left zero is learnt from the first
    valid datagram.
    """


class UDPFiltering(StrEnum):
    """Who may answer through an association's outbound socket (RFC 4787 section 5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    """Anyone: a "full cone", for games and peer-to-peer programs."""

    ADDRESS_DEPENDENT = "address-dependent"
    """Hosts that the client has sent to, from any of their ports."""

    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    """Exactly the addresses and ports that the client has sent to."""


class OutgoingFamily(StrEnum):
    """Over which address families targets are reached, and which goes first where there is a choice."""

    ANY = "any"
    """Both, in the resolver's order."""

    PREFER_IPV4 = "prefer-ipv4"
    PREFER_IPV6 = "prefer-ipv6"
    IPV4 = "ipv4"
    IPV6 = "ipv6"

    def allows(self, host: str) -> bool:
        """Whether an IP literal is of a family that may be used."""
        return self is not (OutgoingFamily.IPV4 if ":" in host else OutgoingFamily.IPV6)

    def in_order(self, hosts: Sequence[str]) -> Sequence[str]:
        """Those IP literals that may be used, the preferred family first; else in their order."""
        if self is OutgoingFamily.ANY:
            return hosts
        is_ipv6_last = self is OutgoingFamily.PREFER_IPV4
        allowed = [host for host in hosts if self.allows(host)]
        return sorted(allowed, key=lambda host: (":" in host) == is_ipv6_last)


ANY_FAMILY = OutgoingFamily.ANY
"""Asked for each target; a member of an Enum is found slowly by its name."""


class NameSource(StrEnum):
    """Who turns names into addresses."""

    DNS = "dns"
    """The hosts file, then the name servers of resolv.conf, which are asked without a thread for each question."""

    SYSTEM = "system"
    """The hosts file, then the system's resolver, with whatever else nsswitch.conf names, in threads. One that
    hangs keeps its thread."""


@dataclass(frozen=True, slots=True)
class PerFamily:
    """One IP literal for each address family, or None for "as the system chooses"."""

    ipv4: str | None = None
    ipv6: str | None = None

    def like(self, host: str) -> str | None:
        """The address of *host*'s family, *host* being an IP literal."""
        return self.ipv6 if ":" in host else self.ipv4


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a :class:`socks5.server.factory.ServerFactory` can be told that is a plain value."""

    commands: frozenset[int] = frozenset((Command.CONNECT, Command.BIND, Command.UDP_ASSOCIATE))
    """The CMD octets that are served; others get reply 7. Default: the three of RFC 1928. Names of targets are told
    only where that is wanted, for it lets clients ask the name servers of the proxy's network.
    """

    outgoing: PerFamily = PerFamily()
    """Source address of connections and datagrams to targets, and where BIND listens. Default: the
    system's choice (BIND: the control connection's local address, if the peer can reach that).
    """

    outgoing_family: OutgoingFamily | None = None
    """Over which families targets are reached. Default: over that of ``outgoing`` where it names one address
    only, for whoever wants targets to see that address does not want them to see another; else any.
    """

    advertise: PerFamily = PerFamily()
    """Address told to clients for BIND and UDP ASSOCIATE instead of the real one, for a proxy
    behind a NAT.
    """

    handshake_timeout: float = 10.0
    """From the accepted connection to the answer that lets the client ask, verdict on the credentials
    included. A person's browser needs milliseconds; ten seconds cover a bad mobile link and still shed
    idle strangers."""

    request_timeout: float = 120.0
    """From then to the complete request. Some clients keep connections in stock that have got so far, a minute as
    a rule; each costs a descriptor and memory, as one with an idle target does, for which there is no limit."""

    ban_after: int = 10
    """Failed logins of one address until it is banned; 0: nothing is delayed and nobody banned. A person who
    mistypes, and a browser that tries an old password on six connections, stay below."""

    ban_time: float = 60.0
    """Of an address's first ban; each further one is twice as long, up to a day. 0: answers are delayed, and
    nobody is banned. Long enough to make guessing slow, short enough for a person who has made a mistake."""

    ban_exempt: Networks = NO_NETWORKS
    """Clients that are never delayed and never banned, beside this host's own addresses."""

    resolve_timeout: float = 10.0
    """For one name. The system resolver's own limit (two servers, five seconds each)."""

    connect_timeout: float = 20.0
    """For all attempts to reach a target together, names resolved; then reply 6. Clients give up
    after 30 s or more, so they still get the answer."""

    attempt_delay: float = 0.25
    """Until the next address is tried beside one that has not answered (RFC 8305 section 5: 250
    ms).
    """

    idle_timeout: float = 0.0
    """Of a relayed TCP connection without an octet either way; 0 is no limit. RFC 5382 asks for at
    least 7440 s, and keepalive probes already find dead peers."""

    keepalive: int = 180
    """Whole seconds of silence, on either side of any TCP connection, until the system asks whether the peer is
    still there (RFC 9293 section 3.8.4), and a tenth of that between further probes; 0: it never does. Some load
    balancers forget a silent connection after 240 s; a shorter time would wake phones more often."""

    linger_timeout: float = 240.0
    """Of a half-closed connection without an octet. RFC 5382 section 5: at least four minutes."""

    bind_timeout: float = 60.0
    """Until the peer of a BIND has connected; then a failure reply. FTP servers connect within
    seconds.
    """

    udp_idle_timeout: float = 300.0
    """Of an association without a datagram either way. RFC 4787 section 4.3: five minutes
    recommended, two the least.
    """

    reassembly_timeout: float = 5.0
    """Of a sequence of UDP fragments. RFC 1928 section 7: not less than 5 s."""

    close_timeout: float = 2.0
    """Between a failure reply and the close of a connection that the client leaves open; RFC 1928
    section 6 allows 10 s. Meanwhile its octets are read and dropped, for unread ones would turn the
    close into a reset that can overtake the reply."""

    udp_pin: UDPPin = UDPPin.IP
    udp_filtering: UDPFiltering = UDPFiltering.ADDRESS_DEPENDENT

    udp_ports: tuple[int, int] | None = None
    """First and last port for the client-facing sockets of associations, for firewalls; None: the
    system's choice.
    """

    udp_buffer: int = 524288
    """Octets of receive buffer that each socket of an association asks the kernel for; Linux grants up to
    net.core.rmem_max, and twice that with its own bookkeeping. Room for the burst of some milliseconds in which others
    have their turn. A client address with many associations gets less for each of them, 65,536 at the least."""

    udp_names_waiting: int = 64
    """Datagrams of one association that wait for their target's name to be resolved; more are
    dropped.
    """

    udp_octets_waiting: int = 1048576
    """Octets of those datagrams, of all associations of one client address; more are dropped."""

    udp_targets: int = 16384
    """Targets remembered for one client address, in all its associations (who may answer, and whereto); beyond, a new
    one takes the place of one that has been silent for two minutes, or is dropped. A peer-to-peer program asks some
    thousands in that time. Each takes about 1 KiB: 16 MiB."""

    associations_per_client: int = 1024
    """UDP associations of one client address at a time. A household behind one gateway that opens one for each flow
    (tun2socks) has some hundreds. Each takes up to four descriptors, two or three ports of the whole host's, and about
    5 KiB."""

    max_optimistic: int = 65536
    """Octets behind the request that are kept until the target answers; then the client is not read
    any further.
    """

    max_fragments: int = MAX_UDP_PAYLOAD
    """Octets of one reassembled datagram."""

    names_cached: int = 4096
    """Names whose addresses are remembered; the least recently used makes room."""

    name_lifetime: float = 30.0
    """Of a cached name whose own lifetime is not told, as the system's resolver does not, or that lacks an
    answer: short, for it may be over."""

    name_lifetime_least: float = 5.0
    """Of a cached name at the least, whatever the name server says, so that a page's many connections ask once."""

    name_lifetime_most: float = 3600.0
    """Of a cached name at the most: nobody should have to wait for the day that some zones say."""

    name_stale_lifetime: float = 3600.0
    """How long a cached name whose lifetime is over may still serve when no name server answers (RFC 8767); 0:
    never. An hour outlasts most failures, and few addresses have another owner by then."""

    name_failure_lifetime: float = 3.0
    """Of a cached failure to resolve at the most, so that a client's retries do not queue up."""

    @property
    def family(self) -> OutgoingFamily:
        """What :attr:`outgoing_family` says, or its default."""
        if self.outgoing_family is not None:
            return self.outgoing_family
        outgoing = self.outgoing
        if (outgoing.ipv4 is None) == (outgoing.ipv6 is None):
            return ANY_FAMILY
        return OutgoingFamily.IPV6 if outgoing.ipv4 is None else OutgoingFamily.IPV4


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much a server may hold, and what is made for that: a process keeps it from its start to its end."""

    max_sessions: int = 0
    """Client connections at a time, beyond which others wait; 0: what the limit of file
    descriptors allows.
    """

    max_sessions_wait: float = 5.0
    """That a client waits in the kernel's queue where there is no room for it; then it is accepted and closed. A short
    rush is over by then, and a client that hears nothing for longer takes the proxy for dead."""

    handshakes_per_client: int = 64
    """Connections of one client address that negotiate at a time; others of that address are left unread until it is
    their turn. A negotiation takes milliseconds, so this is thousands in a second, and what is silent counts for a
    tenth of a second only. What others wait for beside such a crowd stands in docs/security.rst."""

    waiting_per_client: int = 2048
    """Connections of one client address that wait for their turn, and no more than a quarter of all sessions; more are
    closed. Twice what a busy household or a scanner opens at once, a descriptor each."""

    resolver: NameSource = NameSource.DNS

    names_at_once: int = 512
    """Names that are looked up at a time. Each holds a socket, up to three where name servers are silent, and two
    connections to each server that must be asked over TCP. A client's first one always is."""

    names_per_client: int = 32
    """Those of one client, which is an IPv4 address or an IPv6 /64: enough for a browser that opens its windows, and
    so few that their answers, if they all come at once, keep nobody waiting."""

    names_waiting: int = 4096
    """Names that wait for that, at a time; more fail at once. A client's first one always may."""

    names_waiting_per_client: int = 512
    """Those of one client."""

    resolver_threads: int = 32
    """Lookups at a time where the system's resolver, or one that a program has installed, is asked, for each may block
    a thread; an eighth of them for one client."""


SettingsSource = Settings | Callable[[], Settings]
"""Settings, or what gives those of the moment, for whoever outlives a change of them."""


def current(source: SettingsSource) -> Callable[[], Settings]:
    """What gives the settings of the moment."""
    return (lambda: source) if isinstance(source, Settings) else source


COMMAND_NAMES: Mapping[int, str] = {
    Command.CONNECT: "connect",
    Command.BIND: "bind",
    Command.UDP_ASSOCIATE: "udp",
    Command.RESOLVE: "resolve",
    Command.RESOLVE_PTR: "resolve-ptr",
}
"""How people call the CMD octets."""

COMMANDS: Mapping[str, frozenset[int]] = {
    "connect": frozenset((Command.CONNECT,)),
    "bind": frozenset((Command.BIND,)),
    "udp": frozenset((Command.UDP_ASSOCIATE,)),
    "resolve": frozenset((Command.RESOLVE, Command.RESOLVE_PTR)),
}
"""What is served, or what a rule holds for, in words: the CMD octets of each."""

METHOD_NAMES: Mapping[str, int] = {
    "gssapi": Method.GSSAPI,
    "chap": Method.CHAP,
    "password": Method.USERNAME_PASSWORD,
    "none": Method.NO_AUTHENTICATION,
}
"""How the command line calls the METHOD octets, in the server's order of preference: the strongest first."""


@dataclass(frozen=True, slots=True)
class ListenerPolicy:
    """What one listener lets in. The default lets in everything that the factory does.

    :param methods: METHOD octets, in order of preference; None: the factory's.
    :param clients: where clients come from, all others are closed; None: anywhere. A client on a UNIX
        socket comes from no network, and is let in by the socket's mode.
    :param proxies: who must send a PROXY header before the client's octets, all others are closed; None:
        there is no header.
    :param connections_per_client: of one client at a time, more are closed: of an IPv4 address, or an IPv6 /64; 0: any
        number. Those of this host are not counted. Listeners of one name count together, each process for itself.
    :param name: how rules call the listener.
    :param may_change: whether clients have to be told when another one takes its place, though it lets in everything.
    """

    methods: tuple[int, ...] | None = None
    clients: Networks | None = None
    proxies: Networks | None = None
    connections_per_client: int = 0
    name: str = ""
    may_change: bool = False

    def admits(self, client: str) -> bool:
        """Whether a client may come in.

        :param client: its IP literal; "" for a UNIX socket.
        """
        return self.clients is None or client == "" or client in self.clients
