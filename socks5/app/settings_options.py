"""The options that become :class:`~socks5.settings.Settings` and :class:`~socks5.settings.Capacity`."""

from __future__ import annotations

from twisted.python import usage

from socks5.settings import (
    Capacity,
    NameSource,
    OutgoingFamily,
    Settings,
    UDPFiltering,
    UDPPin,
)


class SettingsOptions(usage.Options):
    """Mixed into the options of the command line."""

    def check_outgoing(self) -> None:
        """Refuse a source address that would never be one."""
        for address in (self["outgoing"].ipv4, self["outgoing"].ipv6):
            if address is not None and self._family and not self._family.allows(address):
                raise usage.UsageError(
                    f"--outgoing {address}: expected an address of the one family that --outgoing-family "
                    f"{self._family} leaves, or another --outgoing-family"
                )

    @property
    def _family(self) -> OutgoingFamily | None:
        """Over which families targets are reached, where that was said."""
        text = self["outgoing-family"]
        return None if text is None else OutgoingFamily(text)

    @property
    def settings(self) -> Settings:
        """The options as :class:`~socks5.settings.Settings`."""
        return Settings(
            commands=frozenset(self["commands"]),
            outgoing=self["outgoing"],
            outgoing_family=self._family,
            advertise=self["advertise"],
            handshake_timeout=self["handshake-timeout"],
            request_timeout=self["request-timeout"],
            ban_after=self["ban-after"],
            ban_time=self["ban-time"],
            ban_exempt=self["ban-exempt"],
            resolve_timeout=self["resolve-timeout"],
            connect_timeout=self["connect-timeout"],
            idle_timeout=self["idle-timeout"],
            keepalive=self["keepalive"],
            linger_timeout=self["linger-timeout"],
            bind_timeout=self["bind-timeout"],
            udp_idle_timeout=self["udp-idle-timeout"],
            udp_pin=UDPPin(self["udp-pin"]),
            udp_filtering=UDPFiltering(self["udp-filtering"]),
            udp_ports=self["udp-ports"],
            udp_targets=self["udp-targets"],
            associations_per_client=self["max-associations"],
        )

    @property
    def capacity(self) -> Capacity:
        """The options as :class:`~socks5.settings.Capacity`."""
        return Capacity(
            max_sessions=self["max-sessions"],
            max_sessions_wait=self["max-sessions-wait"],
            handshakes_per_client=self["handshakes-per-client"],
            waiting_per_client=self["waiting-per-client"],
            resolver=NameSource(self["resolver"]),
        )
