"""Signing in on a real server over real TLS: what a browser gets, and everything that is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web

from hub.web.access import Role
from hub.web.sessions import csrf_token
from hub.web.users import LINK_S
from tests.hub.web.site import PASSWORD, Browser, World

SESSION = "__Host-veilcast-session"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.add("ann", Role.ADMIN)
    made.add("olga", Role.OPERATOR)
    made.add("vic", Role.VIEWER, frozenset({"door"}))
    yield made
    made.store.close()


async def test_a_login_opens_what_the_role_allows(world: World) -> None:
    async with world.running():
        expected = {"ann": (200, 200, 200), "olga": (200, 200, 403), "vic": (200, 403, 403)}
        for name, statuses in expected.items():
            async with world.browser() as browser:
                assert (await browser.get("/"))[:2] == (303, "/login")
                assert await browser.login(name) == 303
                assert await browser.get("/") == (200, name)
                got = [(await browser.get(path))[0] for path in ("/", "/operate", "/admin")]
                assert tuple(got) == statuses, name
    assert [by for by, facts in world.notes.about("login") if facts["address"] == "127.0.0.1"] == [
        "user ann", "user olga", "user vic",
    ]  # fmt: skip


async def test_the_cookie_is_locked_down_and_new_at_each_login(world: World) -> None:
    async with world.running(), world.browser() as browser:
        seen = set()
        for _ in range(2):
            form = {"name": "ann", "password": PASSWORD}
            headers = {"Origin": world.url}
            async with browser.client.post(
                world.url + "/login", data=form, headers=headers, allow_redirects=False
            ) as response:
                cookies = response.headers.getall("Set-Cookie")
            assert len(cookies) == 2
            for cookie in cookies:
                assert cookie.startswith("__Host-veilcast-")
                assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
                assert "Domain" not in cookie
            seen.add(browser.cookie(SESSION))
        assert len(seen) == 2
        assert all(len(value) == 43 for value in seen), "256 bits"
        first, last = sorted(seen, key=lambda value: value == browser.cookie(SESSION))
        assert await world.accounts.find(first) is None, "the old one is void"
        assert await world.accounts.find(last) is not None
        kept = (world.store._database.path).read_bytes()
        assert last.encode() not in kept
        assert PASSWORD.encode() not in kept


async def test_every_answer_has_the_headers_of_a_closed_page(world: World) -> None:
    async with world.running(), world.browser() as browser:
        for path in ("/login", "/", "/nothing", "/login.css"):
            async with browser.client.get(world.url + path, allow_redirects=False) as response:
                policy = response.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "frame-ancestors 'none'" in policy
                assert "unsafe" not in policy
                assert "img-src 'self' https://door.lan:8080 blob:" in policy
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["X-Frame-Options"] == "DENY"
                assert response.headers["Referrer-Policy"] == "same-origin"
                assert response.headers["Cache-Control"] == "no-store"
                assert "aiohttp" not in response.headers["Server"].lower()
                text = await response.text()
                assert "<script" not in text
                assert "style=" not in text


async def test_a_wrong_password_and_an_unknown_user_are_told_alike(world: World) -> None:
    async with world.running(), world.browser() as browser:
        wrong = await browser.post("/login", name="ann", password="not this one, no")
        unknown = await browser.post("/login", name="bob", password="not this one, no")
        assert wrong[0] == unknown[0] == 403
        assert wrong[1].replace("ann", "bob") == unknown[1]
        assert browser.cookie(SESSION) == ""
    refused = [facts["user"] for _, facts in world.notes.about("login") if facts["result"] == "refused"]
    assert refused == ["ann", ""], "an unknown name could be a password, typed into the wrong field"


async def test_an_unsafe_request_needs_its_origin_and_its_token(world: World) -> None:
    async with world.running(), world.browser() as browser:
        evil = "https://evil.example"
        for headers in (
            {"Origin": evil, "Sec-Fetch-Site": "cross-site"},
            {"Origin": evil, "Sec-Fetch-Site": ""},
            {"Origin": "", "Sec-Fetch-Site": "same-site"},
            {"Origin": "", "Sec-Fetch-Site": ""},
            {"Origin": "null", "Sec-Fetch-Site": ""},
            {"Origin": world.url.replace("https", "http"), "Sec-Fetch-Site": ""},
        ):
            status, _ = await browser.post("/login", headers=headers, name="ann", password=PASSWORD)
            assert status == 403, headers
        assert browser.cookie(SESSION) == ""
        assert await browser.login("ann") == 303
        token = await browser.csrf()
        assert (await browser.post("/watch"))[0] == 403, "no token"
        assert (await browser.post("/watch", csrf=csrf_token("another session")))[0] == 403
        assert (await browser.post("/watch", headers={"Origin": evil}, csrf=token))[0] == 403
        assert (await browser.post("/watch", csrf=token)) == (200, "ann")
        assert (await browser.post("/watch", headers={"X-CSRF-Token": token})) == (200, "ann")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "hub.lan.evil.example", "x"])
async def test_another_name_for_this_address_gets_nothing(world: World, host: str) -> None:
    async with world.running(), world.browser() as browser:
        assert (await browser.get("/login", Host=host))[0] == 403


@pytest.mark.parametrize("host", ["localhost", "HUB.LAN:8443", "10.1.2.3:8443", "[::1]:1"])
async def test_its_own_names_and_addresses_are_answered(world: World, host: str) -> None:
    async with world.running(), world.browser() as browser:
        assert (await browser.get("/login", Host=host))[0] == 200


async def test_a_session_ends_when_idle_after_its_longest_time_and_by_logout(world: World) -> None:
    async with world.running(), world.browser() as browser:
        await browser.login("ann")
        for _ in range(6):
            world.clock.now += 590
            assert (await browser.get("/"))[0] == 200, "used, so not idle"
        world.clock.now += 100
        assert (await browser.get("/"))[0] == 303, "as old as a session may be"
        await browser.login("ann")
        world.clock.now += 601
        assert (await browser.get("/"))[0] == 303, "idle"
        await browser.login("ann")
        session = browser.cookie(SESSION)
        assert (await browser.post("/logout", csrf=await browser.csrf())) == (303, "/login")
        assert browser.cookie(SESSION) == ""
        assert await world.accounts.find(session) is None


async def test_a_changed_password_ends_every_session(world: World) -> None:
    new = "another good password"
    async with world.running(), world.browser() as here, world.browser() as there:
        await here.login("ann")
        await there.login("ann")
        token = await here.csrf()
        wrong = await here.post("/password", csrf=token, old="nonsense, no", password=new, again=new)
        assert wrong[0] == 422
        assert "present password is wrong" in wrong[1]
        short = await here.post("/password", csrf=token, old=PASSWORD, password="short", again="short")
        assert "at least 12" in short[1]
        other = await here.post("/password", csrf=token, old=PASSWORD, password=new, again=new + "x")
        assert "not the same" in other[1]
        assert (await there.get("/"))[0] == 200
        done = await here.post("/password", csrf=token, old=PASSWORD, password=new, again=new)
        assert done[0] == 303
        assert (await here.get("/"))[0] == 200
        assert (await there.get("/"))[0] == 303
        assert await there.login("ann") == 403
        assert await there.login("ann", new) == 303
    assert ("user ann", "ann") in [(by, f.get("user")) for by, f in world.notes.about("change-password")]


async def test_a_removed_user_or_a_lesser_role_holds_from_the_next_request(world: World) -> None:
    async with world.running(), world.browser() as browser:
        await browser.login("olga")
        assert (await browser.get("/operate"))[0] == 200
        olga = world.store.find("olga")
        assert olga is not None
        world.store.set_role(type(olga.user)("olga", Role.VIEWER, frozenset()), "test", world.clock())
        assert (await browser.get("/operate"))[0] == 403
        world.store.remove("olga", "test", world.clock())
        assert (await browser.get("/"))[0] == 303


async def test_guessing_is_slowed_down_and_never_locks_a_known_browser_out(world: World) -> None:
    async with world.running(), world.browser() as known, world.browser() as guesser:
        await known.login("ann")
        statuses = [await guesser.login("ann", f"guess number {n}") for n in range(14)]
        assert statuses[:10] == [403] * 10
        assert statuses[10:] == [429] * 4
        assert await guesser.login("ann") == 429, "not even the right one: it is not looked at"
        assert await known.login("ann") == 303, "this browser has signed in before"
        world.clock.now += 901
        assert await guesser.login("ann") == 303, "no lock lasts"
    braked = [facts.get("braked") for _, facts in world.notes.about("login")]
    assert 5 in braked, "those that were not looked at are counted"


async def test_a_browser_is_known_for_its_own_user_only(world: World) -> None:
    async with world.running(), world.browser() as vic, world.browser() as guesser:
        await vic.login("vic")
        for n in range(12):
            await guesser.login("ann", f"guess number {n}")
        assert await vic.login("ann") == 429, "known, but as another"
        statuses = [await vic.login("vic", f"guess number {n}") for n in range(12)]
        assert statuses[-1] == 429, "a known browser is slowed down for what it does itself"


async def test_many_guesses_at_once_gain_nothing(world: World) -> None:
    async with world.running(), world.browser() as guesser:
        statuses = await asyncio.gather(*(guesser.login("ann", f"guess number {n}") for n in range(30)))
        assert statuses.count(403) <= 10
        assert statuses.count(403) + statuses.count(429) == 30


@pytest.mark.parametrize(
    "where", ["//evil.example", "https://evil.example", "/\\evil.example", "/first", "x", "/a\r\nb", ""]
)
async def test_after_the_login_nobody_is_sent_elsewhere(world: World, where: str) -> None:
    async with world.running(), world.browser() as browser:
        assert await browser.post("/login", name="ann", password=PASSWORD, next=where) == (303, "/")


async def test_after_the_login_it_goes_on_where_one_wanted_to(world: World) -> None:
    async with world.running(), world.browser() as browser:
        status, location = await browser.get("/operate?at=1&b=2")
        assert (status, location) == (303, f"/login?next={quote('/operate?at=1&b=2', safe='/')}")
        _, page = await browser.get(location)
        assert 'value="/operate?at=1&amp;b=2"' in page
        done = await browser.post("/login", name="ann", password=PASSWORD, next="/operate?at=1&b=2")
        assert done == (303, "/operate?at=1&b=2")
        assert (await browser.get("/operate", Accept="application/json"))[0] == 200
        async with world.browser() as other:
            assert (await other.get("/operate", Accept="application/json"))[0] == 401


async def test_a_long_body_before_the_login_is_not_read(world: World) -> None:
    async with world.running(), world.browser() as browser:
        assert (await browser.post("/login", name="ann", password="x" * 9_000))[0] == 413
        assert (await browser.post("/login", name="ann", password="x" * 7_000))[0] == 403


def test_a_route_that_says_nothing_stops_the_start(world: World) -> None:
    async def forgotten(_: web.Request) -> web.Response:
        return web.Response()

    async def start() -> None:
        app = world.app()
        app.router.add_get("/forgotten", forgotten)
        runner = web.AppRunner(app)
        try:
            await runner.setup()
        finally:
            await runner.cleanup()

    with pytest.raises(ValueError, match=r"/forgotten.* does not say who may call it"):
        asyncio.run(start())


async def test_the_first_link_makes_one_admin_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    code = world.store.new_link(None, "hub", world.clock())
    async with world.running(), world.browser() as browser:
        assert (await browser.get("/first?code=nonsense"))[0] == 410
        assert (await browser.get(f"/reset?code={code}"))[0] == 410
        assert (await browser.get(f"/first?code={code}"))[0] == 200
        assert (await browser.get(f"/first?code={code}"))[0] == 200, "looking does not use it up"
        weak = await browser.post(
            "/first", code=code, name="Eve", password="aaaaaaaaaaaa", again="aaaaaaaaaaaa"
        )
        assert "too easy to guess" in weak[1]
        bad = await browser.post("/first", code=code, name="<b>", password=PASSWORD, again=PASSWORD)
        assert bad[0] == 422
        assert "<b>" not in bad[1]
        done = await browser.post("/first", code=code, name="Eve", password=PASSWORD, again=PASSWORD)
        assert done == (303, "/")
        assert await browser.get("/admin") == (200, "admin")
        async with world.browser() as second:
            assert (await second.get(f"/first?code={code}"))[0] == 410
            again = await second.post("/first", code=code, name="Mallory", password=PASSWORD, again=PASSWORD)
            assert again[0] == 410
            assert await second.login("eve") == 303, "names are told apart by their letters alone"
    assert [account.user.name for account in _reopened(tmp_path)] == ["Eve"]
    assert ("first link", "Eve") in [(by, facts["user"]) for by, facts in world.notes.about("add-user")]


async def test_a_first_link_ends_with_time_at_a_restart_and_with_the_first_admin(tmp_path: Path) -> None:
    world = World(tmp_path)
    old = world.store.new_link(None, "hub", world.clock())
    new = world.store.new_link(None, "hub", world.clock())
    async with world.running(), world.browser() as browser:
        assert (await browser.get(f"/first?code={old}"))[0] == 410
        assert (await browser.get(f"/first?code={new}"))[0] == 200
        world.clock.now += LINK_S
        assert (await browser.get(f"/first?code={new}"))[0] == 410
        late = world.store.new_link(None, "hub", world.clock())
        world.add("ann", Role.ADMIN)
        assert (await browser.get(f"/first?code={late}"))[0] == 410


async def test_a_reset_link_gets_a_user_in_whatever_was_guessed(world: World) -> None:
    new = "quite another password"
    async with world.running(), world.browser() as ann, world.browser() as before:
        await before.login("ann")
        for n in range(12):
            await ann.login("ann", f"guess number {n}")
        code = world.store.new_link("ANN", "console", world.clock())
        _, page = await ann.get(f"/reset?code={code}")
        assert 'value="ann"' in page
        assert await ann.post("/reset", code=code, password=new, again=new) == (303, "/")
        assert await ann.get("/") == (200, "ann")
        assert (await before.get("/"))[0] == 303, "older sessions have ended"
        assert (await ann.get(f"/reset?code={code}"))[0] == 410
        files = world.store._database.path.parent.glob("users.db*")
        assert not any(code.encode() in file.read_bytes() for file in files)


async def test_without_tls_the_cookie_has_no_prefix_and_everything_else_holds(tmp_path: Path) -> None:
    world = World(tmp_path, is_tls=False)
    world.add("ann", Role.ADMIN)
    async with world.running(), Browser(world) as browser:
        assert await browser.login("ann") == 303
        assert browser.cookie("veilcast-session")
        assert await browser.get("/") == (200, "ann")


async def test_changes_by_a_command_reach_the_audit_log_once_it_can_be_written(world: World) -> None:
    world.notes.is_full = True
    await world.accounts.tell_audit()
    assert world.notes.about("add-user") == []
    world.notes.is_full = False
    await world.accounts.tell_audit()
    await world.accounts.tell_audit()
    assert [facts["user"] for _, facts in world.notes.about("add-user")] == ["ann", "olga", "vic"]
    await world.accounts.close()


def _reopened(folder: Path) -> list:  # type: ignore[type-arg]
    world = World(folder)
    try:
        return world.store.all()
    finally:
        world.store.close()
