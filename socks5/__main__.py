"""``python -m socks5``: the program ``socks5``, see :mod:`socks5.app.console`."""

from __future__ import annotations

from socks5.app.config.uncollected import uncollected

with uncollected():  # an eighth of the start, and nothing of what is imported is garbage
    from socks5.app.console import main

if __name__ == "__main__":
    main()
