"""A libcurl of today, for versions of the curl program that cannot log in by Kerberos; run as a program.

Shows the page, and on the standard error what curl would with ``-v``. Ends with curl's status.
"""

import sys
from argparse import ArgumentParser, Namespace
from io import BytesIO

import pycurl

# Options of libcurl that pycurl has no names for (curl/curl.h).
SOCKS5_GSSAPI_NEC = 180
SOCKS5_AUTH = 267
AUTH_BASIC, AUTH_GSSAPI = 1, 4


def arguments() -> Namespace:
    parser = ArgumentParser()
    parser.add_argument("--socks5-hostname")
    parser.add_argument("--socks5-gssapi", action="store_true")
    parser.add_argument("--socks5-gssapi-nec", action="store_true")
    parser.add_argument("--socks5-basic", action="store_true")
    parser.add_argument("--proxy-user")
    parser.add_argument("urls", nargs="+")
    return parser.parse_args()


def page(asked: Namespace, url: str) -> bytes:
    """Fetch it over a connection of its own.

    :raises pycurl.error: curl's status, and why.
    """
    body = BytesIO()
    curl = pycurl.Curl()
    curl.setopt(curl.URL, url)
    curl.setopt(curl.PROXY, asked.socks5_hostname)
    curl.setopt(curl.PROXYTYPE, curl.PROXYTYPE_SOCKS5_HOSTNAME)
    methods = AUTH_GSSAPI * asked.socks5_gssapi | AUTH_BASIC * asked.socks5_basic
    curl.setopt(SOCKS5_AUTH, methods or AUTH_GSSAPI | AUTH_BASIC)
    curl.setopt(SOCKS5_GSSAPI_NEC, asked.socks5_gssapi_nec)
    if asked.proxy_user:
        curl.setopt(curl.PROXYUSERPWD, asked.proxy_user)
    curl.setopt(curl.TIMEOUT, 20)
    curl.setopt(curl.VERBOSE, True)
    curl.setopt(curl.WRITEDATA, body)
    curl.perform()
    return body.getvalue()


def main() -> None:
    asked = arguments()
    for url in asked.urls:
        try:
            sys.stdout.buffer.write(page(asked, url))
        except pycurl.error as error:
            status, why = error.args
            sys.stderr.write(f"{why}\n")
            sys.exit(status)


if __name__ == "__main__":
    main()
