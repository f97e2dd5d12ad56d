"""The models that a hub can use: which there are, which are installed, and getting one.

Owns the digests of files that came from outside: each is written down when the file is first used and must be
the same ever after. Called by `hub.model_commands`. What is inside a model is known to `hub.embedding` alone.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hub.download import Progress, Wanted, download
from hub.embedding import dlib_resnet, vggface2
from hub.embedding.dlib_onnx import graph_path
from hub.embedding.port import ModelManifest
from hub.embedding.vggface2_graph import PRECISIONS, Precision
from hub.embedding.vggface2_layers import MODEL_ID
from hub.embedding.vggface2_weights import MAX_FILE_BYTES
from vision.errors import ModelError
from vision.model_store import (
    CENTERFACE,
    DLIB_FACE_MODEL,
    MTCNN_WEIGHTS,
    Asset,
    asset_path,
    models_dir,
    sha256_of,
    write_atomically,
)

RELEASE = "https://github.com/rcmalli/keras-vggface/releases/download/v2.0/"
"""Where the designated model's weights are published."""
LICENCE_TEXT = f"""\
{MODEL_ID}: {vggface2.LICENCE}.
The weights were trained on the VGGFace2 data set (Visual Geometry Group, University of Oxford), which is
offered for research and other non-commercial use: a product or a paid service may not use them.
The terms: https://www.robots.ox.ac.uk/~vgg/data/vgg_face2/
Without them Veilcast uses dlib-resnet (CC0), which has no such terms."""
EMBEDDED_NAMES = ("dlib-resnet", dlib_resnet.MANIFEST.model_id)
"""What the model that comes along is called in the settings, and its present version."""
MAX_KNOWN_BYTES = 65_536
FetchStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Known:
    """One model as `models list` shows it."""

    name: str
    purpose: str
    """recognition or detection."""
    licence: str
    state: str
    """installed (with its precisions), or what is missing."""
    is_installed: bool
    digest: str = ""
    threshold: float | None = None
    margin: float | None = None
    measured: str = ""


def known_models() -> list[Known]:
    """Every model that Veilcast can use, the recognition ones first."""
    found = [_embedded(), _designated()]
    detectors = {f"mtcnn-{name}": asset for name, asset in MTCNN_WEIGHTS.items()}
    for name, asset in {**detectors, "centerface": CENTERFACE}.items():
        state = _state_of(asset)
        found.append(Known(name, "detection", asset.licence, state, state == "installed", asset.sha256))
    return found


def _embedded() -> Known:
    state = _state_of(DLIB_FACE_MODEL)
    return _recognizer(dlib_resnet.MANIFEST, state, state == "installed")


def _designated() -> Known:
    try:
        manifest = vggface2.manifest()
        there = [p for p in PRECISIONS if vggface2.graph_file(p).is_file()]
    except ModelError:
        if vggface2.installed_weights() is not None:
            state = "damaged: import its weights again"
        else:
            state = f"not installed: veilcast-hub models fetch {MODEL_ID}"
        return Known(MODEL_ID, "recognition", vggface2.LICENCE, state, False)
    return _recognizer(manifest, f"installed ({', '.join(there)})", True)


def _recognizer(manifest: ModelManifest, state: str, is_installed: bool) -> Known:
    return Known(
        manifest.model_id, "recognition", manifest.licence, state, is_installed,
        manifest.sha256, manifest.threshold, manifest.margin, manifest.measured,
    )  # fmt: skip


def _state_of(asset: Asset) -> str:
    try:
        asset_path(asset)
    except ModelError as exc:
        return str(exc)
    return "installed"


# --- digests of what came from outside ---------------------------------------------------------------


class _Noted(msgspec.Struct, frozen=True):
    sha256: vggface2.Digest
    noted_at: str


def _known_file() -> Path:
    return models_dir() / "known-digests.json"


def _read_known() -> dict[str, _Noted]:
    path = _known_file()
    if not path.exists():
        return {}
    try:
        if path.stat().st_size > MAX_KNOWN_BYTES:
            raise ModelError(f"{path} is too large to be what it should be; put it aside")
        return msgspec.json.decode(path.read_bytes(), type=dict[str, _Noted])
    except (OSError, msgspec.MsgspecError) as exc:
        raise ModelError(f"{path} is damaged ({exc}); put it aside to note digests anew") from exc


def check_digest(file_name: str, digest: str, expected: str | None = None) -> None:
    """Compare a file with what was noted at its first use. Raises ModelError where they differ.

    expected: a digest that a person vouches for; it stands above the noted one.
    """
    if expected is not None:
        if digest != expected.lower():
            raise ModelError(f"{file_name} is not the expected file: its sha256 is {digest}")
        return
    noted = _read_known().get(file_name)
    if noted is not None and digest != noted.sha256:
        raise ModelError(
            f"{file_name} is another file (sha256 {digest}) than the one first used on {noted.noted_at[:10]} "
            f"(sha256 {noted.sha256}). If you know it to be right, import it with --sha256 {digest}"
        )


def note_digest(file_name: str, digest: str) -> None:
    """Write a file's digest down, for `check_digest`."""
    known = {**_read_known(), file_name: _Noted(digest, _now())}
    write_atomically(_known_file(), msgspec.json.format(msgspec.json.encode(known), indent=1))


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


# --- getting a model ------------------------------------------------------------------------------------


def import_file(path: Path, step: FetchStep, expected: str | None = None) -> Path:
    """Install the designated model from a weight file whose licence was accepted. Raises ModelError."""
    noted: list[tuple[str, str]] = []

    def check(kind: str, digest: str) -> None:
        check_digest(vggface2.PUBLISHED[kind], digest, expected)
        noted.append((vggface2.PUBLISHED[kind], digest))

    graph = vggface2.import_weights(path, _now(), step, check)
    note_digest(*noted[0])
    return graph


def fetch(
    progress: Progress,
    step: FetchStep,
    url: str = "",
    expected: str | None = None,
    context: ssl.SSLContext | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Path:
    """Download and install the designated model, whose licence was accepted. Raises ModelError.

    url: of the file, instead of the published address. What was downloaded is removed afterwards, also where
    it is not the right file: keeping it would only repeat the mistake.
    """
    address = url or RELEASE + vggface2.PUBLISHED["notop"]
    target = models_dir() / "downloads" / vggface2.PUBLISHED["notop"]
    download(Wanted(address, target, MAX_FILE_BYTES, context), progress, pause)
    try:
        return import_file(target, step, expected)
    finally:
        target.unlink(missing_ok=True)


# --- checking and handing on ------------------------------------------------------------------------


def check_files(name: str) -> list[str]:
    """Re-read a model's files and compare digests; a line for each that is right. Raises ModelError."""
    if name == MODEL_ID:
        return [f"{p}: sha256 {sha256_of(vggface2.checked_graph(p))}" for p in PRECISIONS]
    assets = dict.fromkeys(EMBEDDED_NAMES, DLIB_FACE_MODEL) | {"centerface": CENTERFACE}
    assets |= {f"mtcnn-{stage}": asset for stage, asset in MTCNN_WEIGHTS.items()}
    asset = assets.get(name)
    if asset is None:
        raise ModelError(f"there is no model {name}; veilcast-hub models list shows them")
    return [f"sha256 {sha256_of(asset_path(asset))}"]


def export(name: str, precision: Precision, target: Path) -> str:
    """Copy a recognition model's ONNX graph to a file; returns its digest. Raises ModelError."""
    if name == MODEL_ID:
        source = vggface2.checked_graph(precision)
    elif name in EMBEDDED_NAMES:
        if precision != "fp32":
            raise ModelError(f"dlib-resnet has no {precision} variant")
        source = graph_path()
    else:
        raise ModelError(f"{name} is no recognition model; veilcast-hub models list shows them")
    if target.exists():
        raise ModelError(f"{target} is there already; name a new file")
    write_atomically(target, source.read_bytes())
    return sha256_of(target)
