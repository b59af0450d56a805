"""`NoRedirect`: for requests that bear a token. urllib would send it along to wherever an answer points."""

from __future__ import annotations

from urllib.request import HTTPRedirectHandler


class NoRedirect(HTTPRedirectHandler):
    """Follows nowhere: an answer that points elsewhere is an `HTTPError`, as any other that is not the one asked for."""

    def redirect_request(self, *_request: object) -> None:
        """Return None."""
        return
