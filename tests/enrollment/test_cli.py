"""The command line against a hub on loopback: lines, JSON, exit codes. Real detector, real photos."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from enrollment import cli
from enrollment.cli import app
from enrollment.errors import EXIT_DONE, EXIT_KEY, EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE
from protocol.keys import KeyPair, create_keypair, load_keypair, load_public_key, write_public_key
from protocol.messages import Refusal
from tests.enrollment.fakes import FakeDetector, FakeHub, textured, write_picture

Run = Callable[..., Result]
ROOT = Path(__file__).parents[2]
PEOPLE = ROOT.parent / "shared" / "data" / "people"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with the keys of a hub and an admin."""
    folder = tmp_path / "keys"
    hub = create_keypair(folder / "hub.key", "hub", "hub")
    write_public_key(folder / "hub.pub", hub)
    create_keypair(folder / "admin.key", "admin", "admin")
    return folder


def pair(keys: Path, name: str) -> KeyPair:
    return load_keypair(keys / f"{name}.key")


@pytest.fixture
def hub(keys: Path) -> Iterator[FakeHub]:
    with FakeHub(pair(keys, "hub"), [pair(keys, "admin")]) as fake:
        yield fake


@pytest.fixture
def run(hub: FakeHub, keys: Path) -> Run:
    """Run a command line with the hub and the keys in the environment."""

    def run_it(*arguments: str | Path, typed: str | None = None, **environment: str) -> Result:
        defaults = {
            "VEILCAST_HUB": hub.address,
            "VEILCAST_ADMIN_KEY": str(keys / "admin.key"),
            "VEILCAST_HUB_KEY": str(keys / "hub.pub"),
            "TERM": "dumb",
        }
        result = CliRunner().invoke(app, [str(a) for a in arguments], typed, defaults | environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run_it


@pytest.fixture
def sees_a_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture shows one good face; the real detector has tests of its own."""
    monkeypatch.setattr(cli, "Mtcnn", FakeDetector)


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_picture(path, textured(seed=seed))


def one_line(result: Result) -> str:
    """The error: one line, no traceback."""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return str(lines[0])


def document(result: Result) -> dict[str, Any]:
    parsed = json.loads(result.stdout)
    assert isinstance(parsed, dict)
    return parsed


@pytest.mark.usefixtures("sees_a_face")
def test_adding_says_that_consent_is_recorded(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    photo = picture(tmp_path / "a.png")
    result = run("add", "Ann  Lee", photo, "--cameras", "door,yard", "--note", "form 12")
    assert result.exit_code == EXIT_DONE, result.output
    assert result.stdout.strip() == (
        "Ann Lee: 1 photo enrolled; consent recorded, until withdrawn, on door, yard"
    )
    assert hub.hub.adds[0].note == "form 12"
    assert hub.hub.adds[0].photos[0].source == "a.png"


@pytest.mark.usefixtures("sees_a_face")
def test_a_consent_with_a_last_day(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    result = run("add", "Ann", picture(tmp_path / "a.png"), "--consent-until", "2099-12-31")
    assert "until 2099-12-31 23:59, on every camera" in result.stdout
    assert hub.hub.adds[0].consent_until is not None


@pytest.mark.usefixtures("sees_a_face")
def test_one_bad_photo_among_good_ones(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff damaged")
    result = run("add", "Ann", picture(tmp_path / "a.png"), tmp_path / "bad.jpg", tmp_path / "gone.jpg")
    assert result.exit_code == EXIT_REFUSED
    assert "Ann: bad.jpg refused (corrupt): " in result.stderr
    assert "Ann: gone.jpg refused (unreadable): there is no such file" in result.stderr
    assert "1 photo enrolled" in result.stdout
    assert len(hub.hub.people["Ann"].templates) == 1


@pytest.mark.usefixtures("sees_a_face")
def test_json_of_an_enrolment(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    result = run("add", "Ann", picture(tmp_path / "a.png"), tmp_path / "bad.jpg", "--json")
    assert result.exit_code == EXIT_REFUSED
    (person,) = document(result)["people"]
    assert person["name"] == "Ann"
    assert person["enrolled"] == ["a.png"]
    assert person["refused"] == [{"file": "bad.jpg", "reason": "empty", "text": "the file is empty"}]
    assert person["problem"] is None
    assert person["person"]["consented"] is True
    assert person["person"]["consents"][0]["until"] is None


@pytest.mark.usefixtures("sees_a_face")
def test_a_duplicate_shows_the_hubs_words(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    hub.hub.refuse["Ann"] = Refusal(session=bytes(16), code="duplicate", text="looks like Bo\x1b[2J")
    photo = picture(tmp_path / "a.png")
    result = run("add", "Ann", photo)
    assert result.exit_code == EXIT_REFUSED
    assert one_line(result) == "Ann: looks like Bo\ufffd[2J"
    problem = document(run("add", "Ann", photo, "--json"))["people"][0]["problem"]
    assert problem["code"] == "duplicate"


@pytest.mark.usefixtures("sees_a_face")
def test_a_folder_per_person(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    people = tmp_path / "people"
    picture(people / "ann_lee" / "1.png", 1)
    picture(people / "ann_lee" / "2.png", 2)
    picture(people / "bo" / "1.png", 3)
    (people / "empty").mkdir()
    result = run("add-folder", people)
    assert result.exit_code == EXIT_REFUSED
    assert sorted(hub.hub.people) == ["Ann Lee", "Bo"]
    assert "Ann Lee: 2 photos enrolled; consent recorded" in result.stdout
    assert "Empty: the folder empty: no photos in it" in one_line(result)


@pytest.mark.usefixtures("sees_a_face")
def test_folders_without_trouble_exit_with_0(run: Run, tmp_path: Path) -> None:
    picture(tmp_path / "people" / "bo" / "1.png")
    assert run("add-folder", tmp_path / "people").exit_code == EXIT_DONE


@pytest.mark.usefixtures("sees_a_face")
def test_what_was_done_is_reported_when_the_hub_is_lost(
    run: Run, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "people" / "ann" / "1.png", 1)
    picture(tmp_path / "people" / "bo" / "1.png", 2)
    add = hub.hub._add

    def add_once(*arguments: Any) -> Any:
        hub.forget_next_requests = 10
        return add(*arguments)

    monkeypatch.setattr(hub.hub, "_add", add_once)
    result = run("add-folder", tmp_path / "people", "--json")
    assert result.exit_code == EXIT_UNREACHABLE
    assert [p["name"] for p in document(result)["people"]] == ["Ann"]
    assert document(result)["error"]["code"] == "hub-unreachable"


@pytest.mark.usefixtures("sees_a_face")
def test_list_show_consent_and_remove(run: Run, tmp_path: Path) -> None:
    assert run("list").stdout == "Nobody is enrolled.\n"
    for name in ("Ann", "Bo", "Cy"):
        run("add", name, picture(tmp_path / "a.png"))
    listed = run("list")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["Name", "Ann", "Bo", "Cy"]
    assert [p["name"] for p in document(run("list", "--json"))["people"]] == ["Ann", "Bo", "Cy"]
    shown = run("show", "Ann")
    assert "a.png" in shown.stdout
    assert "consent recorded, until withdrawn, on every camera" in shown.stdout
    assert document(run("show", "Ann", "--json"))["person"]["templates"][0]["source"] == "a.png"
    assert "no consent is live" in run("consent", "withdraw", "Ann").stdout
    granted = run("consent", "grant", "Ann", "--until", "2099-01-01", "--cameras", "door")
    assert "consent recorded, until 2099-01-01 23:59, on door" in granted.stdout
    assert run("remove", "Ann", "--yes").stdout.startswith("Ann: removed\n")
    assert run("remove", "Bo", "--yes", "--json").exit_code == EXIT_DONE
    assert [p["name"] for p in document(run("list", "--json"))["people"]] == ["Cy"]


@pytest.mark.usefixtures("sees_a_face")
@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_removing_asks_first(run: Run, hub: FakeHub, tmp_path: Path, answer: str) -> None:
    run("add", "Ann", picture(tmp_path / "a.png"))
    result = run("remove", "Ann", typed=answer)
    assert result.exit_code == EXIT_REFUSED
    assert "Erase Ann, templates and consents, for good?" in result.stderr
    assert "Ann" in hub.hub.people
    assert run("remove", "Ann", typed="y\n").exit_code == EXIT_DONE
    assert "Ann" not in hub.hub.people


@pytest.mark.parametrize(
    "command", [("show",), ("remove", "--yes"), ("consent", "grant"), ("consent", "withdraw")]
)
def test_an_unknown_person_is_refused(run: Run, command: tuple[str, ...]) -> None:
    result = run(*command, "Nobody")
    assert result.exit_code == EXIT_REFUSED
    assert one_line(result) == "veilcast-enroll: nobody of this name is enrolled"
    error = document(run(*command, "Nobody", "--json"))["error"]
    assert (error["code"], error["refusal"]) == ("refused", "not-found")


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "Ann"),
        ("add", "", "a.jpg"),
        ("add", "Ann", "a.jpg", "--consent-until", "yesterday"),
        ("add", "Ann", "a.jpg", "--consent-until", "2001-01-01"),
        ("add", "Ann", "a.jpg", "--cameras", "front door"),
        ("add-folder", "no/such/folder"),
        ("consent", "grant", "Ann", "--until", "soon"),
        ("--hub", "nonsense", "list"),
        ("bogus",),
    ],
)
def test_wrong_usage(run: Run, hub: FakeHub, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == EXIT_USAGE
    assert result.stderr
    assert hub.hub.people == {}


def test_no_hub(run: Run, tmp_path: Path) -> None:
    result = run("--wait", "0.2", "list", VEILCAST_HUB="tcp://127.0.0.1:1")
    assert result.exit_code == EXIT_UNREACHABLE
    assert "no hub answers at tcp://127.0.0.1:1" in one_line(result)


def test_keys_that_cannot_be_used(run: Run, keys: Path) -> None:
    missing = run("list", VEILCAST_ADMIN_KEY=str(keys / "none.key"))
    assert missing.exit_code == EXIT_KEY
    assert "make-key" in one_line(missing)
    no_hub_key = run("list", VEILCAST_HUB_KEY=str(keys / "none.pub"))
    assert no_hub_key.exit_code == EXIT_KEY
    assert "VEILCAST_HUB_KEY" in one_line(no_hub_key)
    no_hubs_key = run("list", VEILCAST_HUB_KEY=str(keys / "admin.key"))
    assert "a key of role admin: the hub's is needed" in one_line(no_hubs_key)
    create_keypair(keys / "door.key", "door", "node")
    wrong_role = run("list", VEILCAST_ADMIN_KEY=str(keys / "door.key"))
    assert "a key of role node" in one_line(wrong_role)
    (keys / "admin.key").chmod(0o644)
    exposed = run("list")
    assert exposed.exit_code == EXIT_KEY
    assert "chmod 600" in one_line(exposed)


def test_a_key_that_the_hub_does_not_know(run: Run, keys: Path) -> None:
    create_keypair(keys / "other.key", "other", "admin")
    result = run("list", VEILCAST_ADMIN_KEY=str(keys / "other.key"))
    assert result.exit_code == EXIT_KEY
    assert "veilcast-hub keys add" in one_line(result)


def test_making_a_key(run: Run, tmp_path: Path) -> None:
    into = tmp_path / "config" / "veilcast"
    result = run("make-key", "ann", XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert result.exit_code == EXIT_DONE
    made = load_keypair(into / "admin.key")
    assert (made.name, made.role) == ("ann", "admin")
    assert load_public_key(into / "ann.admin.pub") == made.public
    again = run("make-key", "ann", XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert again.exit_code == EXIT_KEY
    assert load_keypair(into / "admin.key") == made


@pytest.mark.parametrize("command", [(), ("add",), ("add-folder",), ("consent", "grant"), ("remove",)])
def test_help_explains(run: Run, command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == EXIT_DONE
    assert "Usage: " in result.stdout


def portrait() -> Path:
    """The astronaut that scikit-image carries, in the public domain."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        pytest.skip("scikit-image, which carries a portrait, is not installed")
    return Path(spec.origin).parent / "data" / "astronaut.png"


def test_a_real_portrait_passes_and_its_bad_copies_do_not(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    image = cv2.imread(str(portrait()))
    assert image is not None
    write_picture(tmp_path / "good.jpg", np.asarray(image, np.uint8))
    write_picture(tmp_path / "blurred.jpg", np.asarray(cv2.GaussianBlur(image, (0, 0), 5), np.uint8))
    write_picture(tmp_path / "small.jpg", np.asarray(cv2.resize(image, (200, 200)), np.uint8))
    write_picture(tmp_path / "twice.jpg", np.concatenate([image, image], axis=1))
    write_picture(tmp_path / "nobody.jpg", np.full((300, 300, 3), 127, np.uint8))
    names = ("good", "blurred", "small", "twice", "nobody")
    result = run("add", "Eileen Collins", *(tmp_path / f"{n}.jpg" for n in names), "--json")
    assert result.exit_code == EXIT_REFUSED
    (person,) = document(result)["people"]
    assert person["enrolled"] == ["good.jpg"]
    assert {r["file"]: r["reason"] for r in person["refused"]} == {
        "blurred.jpg": "blurred",
        "small.jpg": "too-small",
        "twice.jpg": "several-faces",
        "nobody.jpg": "no-face",
    }
    assert hub.payloads[0][0][:2] == b"\xff\xd8"


@pytest.mark.skipif(not PEOPLE.is_dir(), reason="../shared/data/people is not here")
def test_the_example_people_all_pass_the_gate(run: Run, hub: FakeHub) -> None:
    result = run("add-folder", PEOPLE)
    assert result.exit_code == EXIT_DONE, result.output
    assert {n: len(p.templates) for n, p in hub.hub.people.items()} == {
        "Alex Lacamoire": 1, "Barack Obama": 2, "Lin Manuel Miranda": 1,
    }  # fmt: skip
