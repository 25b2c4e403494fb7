"""Tells ``twistd`` that there is a ``socks5`` service; the service itself is imported when asked for.

Nothing here may fail: to the user, an ImportError in a plugin is only "Unknown command: socks5".
"""

from twisted.application.service import ServiceMaker

socks5_service = ServiceMaker(
    "socks5 proxy", "socks5.tap", "A SOCKS5 proxy (RFC 1928, 1929).", "socks5"
)
