"""`veilcast-hub models` from the command line: list, fetch, import, verify, export; real TLS on loopback."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hub import models
from hub.__main__ import app
from hub.embedding import vggface2
from tests.hub.file_server import FileServer, file_server
from tests.hub.vggface2_reference import raw_weights, write_h5

PUBLISHED = vggface2.PUBLISHED["notop"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_h5(tmp_path_factory.mktemp("weights") / "w.h5", raw_weights())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VEILCAST_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "models"


@pytest.fixture
def server(weights: Path, tmp_path: Path) -> Iterator[FileServer]:
    with file_server(weights.read_bytes(), tmp_path) as running:
        yield running


def call(*words: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, ["models", *words], input=answer)


def fetch(server: FileServer, *words: str, answer: str | None = None) -> Result:
    return call("fetch", "--url", server.url, "--ca-file", str(server.certificate), *words, answer=answer)


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_the_list_says_what_is_there_and_how_to_get_the_rest() -> None:
    known = {m["name"]: m for m in json.loads(call("list", "--json").output)}
    assert known["dlib-resnet-v2"]["is_installed"]
    assert known["dlib-resnet-v2"]["threshold"] > 0.9
    assert known["dlib-resnet-v2"]["licence"] == "CC0-1.0"
    assert "LFW" in known["dlib-resnet-v2"]["measured"]
    assert not known["vggface2-resnet50"]["is_installed"]
    assert known["mtcnn-pnet"]["purpose"] == "detection"
    table = call("list").output
    assert "models fetch vggface2-resnet50" in table
    assert "non-commercial" in table


def test_a_model_is_fetched_listed_verified_and_exported(
    server: FileServer, weights: Path, folder: Path, tmp_path: Path
) -> None:
    server.cuts = [40_000_000]
    done = fetch(server, answer="yes\n")
    assert done.exit_code == 0, done.output
    assert done.output.index("non-commercial") < done.output.index("is installed")
    assert [asked for _, asked in server.requests] == [None, "bytes=40000000-"]
    assert vggface2.read_record().source_sha256 == digest_of(weights.read_bytes())
    assert json.loads((folder / "known-digests.json").read_text())[PUBLISHED]["sha256"] == digest_of(
        weights.read_bytes()
    )
    assert not list((folder / "downloads").glob("*.h5*[!k]"))

    known = {m["name"]: m for m in json.loads(call("list", "--json").output)}
    assert known["vggface2-resnet50"]["state"] == "installed (fp32, fp16, int8)"
    assert call("verify", "vggface2-resnet50").output.count("sha256") == 3

    out = tmp_path / "out.onnx"
    assert call("export", "vggface2-resnet50", str(out), "--precision", "int8").exit_code == 0
    assert out.read_bytes() == vggface2.graph_file("int8").read_bytes()
    again = call("export", "vggface2-resnet50", str(out))
    assert again.exit_code == 1
    assert "there already" in again.output

    # Another file in the same place, later: refused, and what is installed stays.
    before = vggface2.read_record()
    server.content, server.etag = server.content + b"more", '"two"'
    changed = fetch(server, "--accept-license")
    assert changed.exit_code == 1
    assert "another file" in changed.output
    assert vggface2.read_record() == before
    assert not (folder / "downloads" / PUBLISHED).exists()

    graph = vggface2.graph_file("fp16")
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    altered = call("verify")
    assert altered.exit_code == 1
    assert "altered" in altered.output


@pytest.mark.parametrize("answer", ["no\n", "\n", "y\n", ""])
def test_without_a_yes_nothing_is_fetched(server: FileServer, folder: Path, answer: str) -> None:
    refused = fetch(server, answer=answer)
    assert refused.exit_code == 1
    assert "non-commercial" in refused.output
    assert "nothing was changed" in refused.output
    assert not server.requests
    assert not folder.exists()


def test_without_a_yes_nothing_is_imported(weights: Path, folder: Path) -> None:
    refused = call("import", str(weights), answer="no\n")
    assert refused.exit_code == 1
    assert not folder.exists()


def test_a_file_with_another_digest_than_expected_is_refused(weights: Path, folder: Path) -> None:
    refused = call("import", str(weights), "--accept-license", "--sha256", "0" * 64)
    assert refused.exit_code == 1
    assert "not the expected file" in refused.output
    assert vggface2.installed_weights() is None
    assert not (folder / "known-digests.json").exists()


def test_a_broken_download_is_not_taken_for_the_first_use(server: FileServer, folder: Path) -> None:
    server.content = b"not hdf5"
    refused = fetch(server, "--accept-licence")
    assert refused.exit_code == 1
    assert "not a Keras weight file" in refused.output
    assert not (folder / "known-digests.json").exists()


def test_the_digest_of_the_first_use_holds_ever_after() -> None:
    first, second = digest_of(b"1"), digest_of(b"2")
    models.check_digest(PUBLISHED, first)
    models.note_digest(PUBLISHED, first)
    models.check_digest(PUBLISHED, first)
    with pytest.raises(models.ModelError, match=f"--sha256 {second}"):
        models.check_digest(PUBLISHED, second)
    models.check_digest(PUBLISHED, second, expected=second.upper())


def test_damaged_notes_of_digests_are_never_taken_for_none(folder: Path) -> None:
    folder.mkdir()
    (folder / "known-digests.json").write_text("{broken")
    with pytest.raises(models.ModelError, match="damaged"):
        models.check_digest(PUBLISHED, digest_of(b"1"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fetch", "dlib-resnet", "--accept-license"], "only vggface2-resnet50"),
        (["import", "gone.h5", "--accept-license"], "no file gone.h5"),
        (["verify", "nothing"], "no model nothing"),
        (["verify", "vggface2-resnet50"], "not installed"),
        (["verify", "--faces", "gone"], "not installed"),
        (["export", "vggface2-resnet50", "x.onnx"], "not installed"),
        (["export", "dlib-resnet", "x.onnx", "--precision", "int8"], "no int8 variant"),
        (["export", "centerface", "x.onnx"], "no recognition model"),
        (["fetch", "--accept-license", "--url", "http://127.0.0.1/w.h5"], "only https"),
        (["fetch", "--accept-license", "--ca-file", "gone.pem"], "no certificates"),
    ],
)
def test_what_cannot_be_done_is_one_line(words: list[str], said: str) -> None:
    result = call(*words)
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output


def test_the_embedded_model_is_verified_and_exported(tmp_path: Path) -> None:
    assert "sha256" in call("verify", "dlib-resnet-v2").output
    out = tmp_path / "dlib.onnx"
    assert call("export", "dlib-resnet", str(out)).exit_code == 0
    assert out.stat().st_size > 20_000_000
