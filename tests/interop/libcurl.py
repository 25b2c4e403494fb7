"""A libcurl of today, for versions of the curl program that cannot log in by Kerberos; run as a program.

Shows the page, and ends with curl's status.
"""

import sys
from argparse import ArgumentParser

import pycurl

# Options of libcurl that pycurl has no names for (curl/curl.h).
SOCKS5_GSSAPI_NEC = 180
SOCKS5_AUTH = 267
AUTH_GSSAPI = 4


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--socks5-hostname")
    parser.add_argument("--socks5-gssapi", action="store_true", required=True)
    parser.add_argument("--socks5-gssapi-nec", action="store_true")
    parser.add_argument("url")
    asked = parser.parse_args()
    curl = pycurl.Curl()
    curl.setopt(curl.URL, asked.url)
    curl.setopt(curl.PROXY, asked.socks5_hostname)
    curl.setopt(curl.PROXYTYPE, curl.PROXYTYPE_SOCKS5_HOSTNAME)
    curl.setopt(SOCKS5_AUTH, AUTH_GSSAPI)
    curl.setopt(SOCKS5_GSSAPI_NEC, asked.socks5_gssapi_nec)
    curl.setopt(curl.TIMEOUT, 20)
    curl.setopt(curl.VERBOSE, True)
    curl.setopt(curl.WRITEDATA, sys.stdout.buffer)
    try:
        curl.perform()
    except pycurl.error as error:
        sys.exit(error.args[0])


if __name__ == "__main__":
    main()
