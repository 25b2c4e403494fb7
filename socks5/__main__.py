"""``python -m socks5``: the program ``socks5``, see :mod:`socks5.app.console`."""

from __future__ import annotations

from socks5.app.console import main

if __name__ == "__main__":
    main()
