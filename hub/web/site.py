"""[I/O] The hub's pages from start to stop: certificate, address, application, and the first admin's link.

Wiring. Called by `hub.__main__`, after the hub itself has started and before it stops.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from aiohttp import web

from hub.config import HubSettings
from hub.errors import StartError
from hub.service import Hub
from hub.signing import load_or_create
from hub.web.accounts import Accounts
from hub.web.app import build_app
from hub.web.context import WebContext
from hub.web.pages import add_pages
from hub.web.passwords import Passwords
from hub.web.tickets import TicketOffice
from hub.web.tls import Certificate, made_certificate, own_certificate, own_names
from hub.web.users import LINK_S, Lifetime, UserStore
from protocol.hosts import is_address, is_loopback

SHUTDOWN_S = 2.0
ANYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


class Site:
    """Serves from `start` to `stop` in the hub's event loop. `wall` gives UTC epoch seconds."""

    def __init__(
        self,
        settings: HubSettings,
        hub: Hub,
        wall: Callable[[], float] = time.time,
        passwords: Passwords | None = None,
    ) -> None:
        """Open the users and the certificate. Raises StartError, StoreError, SecretFileError."""
        self._settings, self._web = settings, settings.web
        self._wall = wall
        self._store = UserStore(settings.files.folder)
        try:
            self._certificate = self._find_certificate()
            self._tls = None if self._certificate is None else self._certificate.context()
            self._check_address()
        except BaseException:
            self._store.close()
            raise
        lifetime = Lifetime(self._web.session_idle_s, self._web.session_longest_s)
        self._accounts = Accounts(self._store, hub.audit, lifetime, wall, passwords=passwords)
        tickets = TicketOffice(load_or_create(settings.files.signing_key), self._web.ticket_s, wall)
        ports = hub.for_pages()
        self._app = build_app(
            WebContext(
                audit=hub.audit,
                accounts=self._accounts,
                wall=wall,
                let_in=lambda: hub.let_in,
                issue_ticket=tickets.issue,
                is_tls=self._tls is not None,
                names=self._names(),
                pages=ports,
                stream_origins=ports.nodes.origins,
            )
        )
        add_pages(self._app)
        self._runner: web.AppRunner | None = None
        self._keeping: asyncio.Task[None] | None = None
        self.url = ""
        """Where the pages are, once started; ends in a slash."""

    async def start(self) -> None:
        """Listen. Raises StartError."""
        runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        host, port = self._web.host, self._web.port
        try:
            await web.TCPSite(runner, host or None, port, ssl_context=self._tls).start()
        except (OSError, OverflowError) as exc:
            await runner.cleanup()
            reason = getattr(exc, "strerror", None) or str(exc)
            raise StartError(
                f"the pages cannot be served on {host}:{port} ({reason}): choose another web.port or "
                "web.host, or set web.enabled = false"
            ) from exc
        self._runner = runner
        self.url = (
            f"{'http' if self._tls is None else 'https'}://{self._own_name()}:{runner.addresses[0][1]}/"
        )
        self._store.set_url(self.url)
        self._keeping = asyncio.create_task(self._accounts.keep(), name="web-accounts")

    async def run(self) -> None:
        """Wait; raises what ended a part of the site (a mistake in this program)."""
        assert self._keeping is not None, "started"
        await self._keeping

    async def stop(self) -> None:
        """Close every connection. May be called twice, and where `start` has failed."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self._accounts.close()

    def words(self, *, is_terminal: bool) -> Sequence[str]:
        """For whoever started the hub: where the pages are, and how the first admin gets in.

        is_terminal: a person reads this at once; a file that is kept must not hold the link.
        """
        lines = [f"pages at {self.url}"]
        if self._certificate is not None:
            made = " (made just now)" if self._certificate.is_made else ""
            lines.append(f"certificate SHA-256 {self._certificate.fingerprint}{made}")
        if self._store.has_admin():
            return lines
        if not is_terminal:
            return [
                *lines,
                "nobody can sign in yet: veilcast-hub users reset-link prints the first admin's link",
            ]
        code = self._store.new_link(None, "hub", self._wall())
        lines.append(f"nobody can sign in yet; open this once, within {LINK_S / 60:.0f} minutes:")
        return [*lines, f"  {self.url}first?code={code}"]

    # --- parts --------------------------------------------------------------------------------

    def _find_certificate(self) -> Certificate | None:
        if not self._web.tls:
            return None
        if self._web.tls_cert or self._web.tls_key:
            return own_certificate(self._web.tls_cert, self._web.tls_key)
        here = [self._web.host] if is_address(self._web.host) and self._web.host not in ANYWHERE else []
        return made_certificate(self._settings.files.folder, [*self._web.names, *here])

    def _check_address(self) -> None:
        host = self._web.host
        if is_loopback(host):
            return
        where = host or "all addresses"
        if self._tls is None:
            raise StartError(
                f"the pages are not served on {where} without TLS: set web.tls = true, or "
                'web.host = "127.0.0.1"'
            )
        if not self._store.has_admin():
            raise StartError(
                f"the pages are not served on {where} before somebody can sign in: start with "
                'web.host = "127.0.0.1" and open the link that it prints, or use users add --password-file'
            )

    def _names(self) -> frozenset[str]:
        names = {name.lower() for name in self._web.names}
        if self._certificate is not None:
            return frozenset(names | self._certificate.names)
        return frozenset(names | {name for name in own_names() if not is_address(name)})

    def _own_name(self) -> str:
        """By which a browser reaches this address."""
        host = self._web.host
        if host in ANYWHERE:
            known = [n for n in own_names() if not is_address(n) and n != "localhost"]
            host = next(iter([*self._web.names, *known]), "localhost")
        return f"[{host}]" if ":" in host else host
