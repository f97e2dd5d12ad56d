"""The hub with its pages: where it serves them, what it prints, and where it refuses."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from hub.config import HubSettings, WebSettings
from hub.errors import StartError
from hub.web.access import Role, User
from hub.web.site import Site
from hub.web.users import UserStore
from tests.hub.test_audit_service import records
from tests.hub.test_service import World
from tests.hub.web.site import CHEAP, PASSWORD
from tests.hub_fake import Keyring


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(Keyring(tmp_path))


def settings_for(world: World, **web: object) -> HubSettings:
    chosen = replace(WebSettings(port=0), **web)
    return replace(HubSettings(state=str(world.keys.folder)), web=chosen)


def add_admin(world: World) -> None:
    store = UserStore(world.keys.folder)
    store.add(User("ann", Role.ADMIN), CHEAP.hash(PASSWORD), "test", 0.0)
    store.close()


async def test_from_the_first_start_to_the_first_admin(world: World) -> None:
    async with world.running():
        site = Site(settings_for(world), world.hub, passwords=CHEAP)
        await site.start()
        try:
            assert not any("code=" in line for line in site.words(is_terminal=False)), "a log keeps it"
            lines = site.words(is_terminal=True)
            (link,) = (line.strip() for line in lines if "code=" in line)
            assert link.startswith(site.url + "first?code=")
            assert any(
                re.search(r"SHA-256 ([0-9A-F]{2}:){31}[0-9A-F]{2} \(made just now\)", li) for li in lines
            )
            code = link.partition("=")[2]
            tls = ssl.create_default_context(cafile=str(world.keys.folder / "web.crt"))
            jar = aiohttp.CookieJar(unsafe=True)
            async with aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls), cookie_jar=jar
            ) as client:
                form = {"code": code, "name": "Ann", "password": PASSWORD, "again": PASSWORD}
                origin = {"Origin": site.url.rstrip("/")}
                async with client.post(
                    site.url + "first", data=form, headers=origin, allow_redirects=False
                ) as response:
                    assert response.status == 303
                async with client.get(site.url + "password") as response:
                    assert response.status == 200
            assert not any("code=" in line for line in site.words(is_terminal=True))
        finally:
            await site.stop()
    acts = [(r["by"], r["what"], r.get("user")) for r in records(world, "act")]
    assert ("first link", "add-user", "Ann") in acts
    assert ("user Ann", "login", None) in acts


async def test_beyond_loopback_only_with_tls_and_an_admin(world: World) -> None:
    async with world.running():
        with pytest.raises(StartError, match=r"without TLS: set web\.tls = true"):
            Site(settings_for(world, host="0.0.0.0", tls=False), world.hub)
        with pytest.raises(StartError, match="before somebody can sign in"):
            Site(settings_for(world, host="0.0.0.0"), world.hub)
        with pytest.raises(StartError, match="before somebody can sign in"):
            Site(settings_for(world, host=""), world.hub)
        store = UserStore(world.keys.folder)
        store.add(User("eve", Role.ADMIN), None, "test", 0.0)
        store.add(User("olga", Role.OPERATOR), CHEAP.hash(PASSWORD), "test", 0.0)
        store.close()
        with pytest.raises(StartError, match="before somebody can sign in"):
            Site(settings_for(world, host="0.0.0.0"), world.hub)
        add_admin(world)
        site = Site(settings_for(world, host="0.0.0.0", names=("hub.lan",)), world.hub, passwords=CHEAP)
        await site.start()
        assert site.url.startswith("https://hub.lan:")
        await site.stop()
        with pytest.raises(StartError, match="without TLS"):
            Site(settings_for(world, host="10.1.2.3", tls=False), world.hub)


async def test_a_port_that_is_taken_is_one_line(world: World) -> None:
    async with world.running():
        first = Site(settings_for(world, tls=False), world.hub, passwords=CHEAP)
        await first.start()
        port = int(first.url.rstrip("/").rpartition(":")[2])
        second = Site(settings_for(world, tls=False, port=port), world.hub, passwords=CHEAP)
        with pytest.raises(StartError, match=r"choose another web\.port"):
            await second.start()
        await second.stop()
        await first.stop()


@pytest.mark.parametrize(
    ("words", "host", "port"),
    [
        ("0.0.0.0:443", "0.0.0.0", 443),
        ("[::1]:8443", "::1", 8443),
        (":1", "", 1),
        ("hub.lan:0", "hub.lan", 0),
    ],
)
def test_the_option_names_an_address(words: str, host: str, port: int) -> None:
    web = HubSettings().with_web(words).web
    assert (web.enabled, web.host, web.port) == (True, host, port)
    assert not HubSettings().with_web("off").web.enabled
    assert HubSettings().with_web(None) == HubSettings()
