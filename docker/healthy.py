"""Exit with 0 if an address answers: `healthy.py https://HOST:PORT/PATH [CA.crt]`, or `healthy.py tcp://HOST:PORT`."""

import socket
import ssl
import sys
import urllib.parse
import urllib.request

TIMEOUT = 3.0


def main(url: str, authority: str | None = None) -> None:
    """Ask once.

    Raises:
        OSError: nobody answers, or not with success (then Python exits with 1).
    """
    address = urllib.parse.urlsplit(url)
    if address.scheme == "tcp":
        socket.create_connection((address.hostname, address.port), TIMEOUT).close()
    else:
        context = ssl.create_default_context(cafile=authority) if authority else None
        urllib.request.urlopen(url, timeout=TIMEOUT, context=context).close()


if __name__ == "__main__":
    main(*sys.argv[1:])
