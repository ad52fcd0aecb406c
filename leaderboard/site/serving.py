"""A folder of pages over HTTP, on this machine alone."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each page."""


def serve_folder(folder: Path, port: int, *, open_browser: bool, say: Callable[[str], None]) -> None:
    """Serve ``folder`` until Ctrl-C.

    Args:
        folder: Of pages.
        port: 0 takes a free one.
        open_browser: Whether to open a browser, where there is one.
        say: Called with the address.

    Raises:
        OSError: The port is taken.
    """
    with ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(folder))) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        say(f"{address} until Ctrl-C")
        if open_browser:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("stopped")
