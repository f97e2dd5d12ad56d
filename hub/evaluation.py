"""Answers an admin who evaluates the model on photos: how alike are they, and decide by this from now on.

Keeps nothing of the photos. What leaves are directions turned by a rotation that each session has for itself:
they tell how alike the photos of this session are and can be compared with no template. Called by
`hub.service`.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hub.calibration import Calibration, write_calibration
from hub.embedding.port import ModelManifest
from hub.errors import DeclinedError
from hub.people import crops_of
from hub.recognizer import Recognizer
from protocol.messages import Likeness, SetThreshold, ShowLikeness, Threshold
from vision.errors import ModelError

EvaluationRequest = ShowLikeness | SetThreshold
InInference = Callable[[Callable[[], Any]], Awaitable[Any]]


class EvaluationDesk:
    """`path`: where the calibration is kept. `wall` gives UTC epoch seconds."""

    def __init__(
        self,
        recognizer: Recognizer,
        manifest: ModelManifest,
        in_inference: InInference,
        path: Path,
        wall: Callable[[], float],
    ) -> None:
        self._recognizer = recognizer
        self._manifest = manifest
        self._in_inference = in_inference
        self._path = path
        self._wall = wall
        self._secret = secrets.token_bytes(32)
        self._rotation: tuple[bytes, NDArray[np.float32]] = (b"", np.zeros((0, 0), np.float32))
        """Of the session that asked last."""

    async def answer(self, request: EvaluationRequest, photos: Sequence[bytes]) -> Likeness | Threshold:
        """Do what is asked. Raises DeclinedError where it is not done."""
        if isinstance(request, ShowLikeness):
            return await self._likeness(request, photos)
        return await asyncio.to_thread(self._write, request)

    async def _likeness(self, request: ShowLikeness, photos: Sequence[bytes]) -> Likeness:
        crops = await asyncio.to_thread(crops_of, request.photos, photos)
        embeddings = await self._in_inference(lambda: self._recognizer.embed_photos(crops))
        rotation = await asyncio.to_thread(self._rotation_of, request.session)
        manifest = self._manifest
        return Likeness(
            session=request.session,
            seq=request.seq,
            model_id=manifest.model_id,
            dimension=manifest.dimension,
            vectors=np.ascontiguousarray(embeddings @ rotation, "<f4").tobytes(),
            threshold=manifest.threshold,
            per_tenfold=manifest.per_tenfold,
            margin=manifest.margin,
        )

    def _rotation_of(self, session: bytes) -> NDArray[np.float32]:
        """(D, D) orthogonal: the same for all questions of a session, unknown to everyone else."""
        if self._rotation[0] != session:
            seed = hashlib.sha256(self._secret + session).digest()
            random = np.random.default_rng(int.from_bytes(seed, "big"))
            turned, triangle = np.linalg.qr(random.standard_normal((self._manifest.dimension,) * 2))
            # Without the signs the rotations would not be drawn evenly (Mezzadri, Notices AMS 54, 2007).
            self._rotation = (session, np.asarray(turned * np.sign(np.diag(triangle)), np.float32))
        return self._rotation[1]

    def _write(self, request: SetThreshold) -> Threshold:
        manifest = self._manifest
        if request.model_id != manifest.model_id:
            text = f"this threshold is for {request.model_id}, and the hub runs {manifest.model_id}"
            raise DeclinedError("invalid", f"{text}: evaluate again")
        calibration = Calibration(
            manifest.model_id, request.threshold, manifest.per_tenfold, request.margin, self._wall(),
            request.people_count, request.photo_count, request.data,
        )  # fmt: skip
        try:
            write_calibration(self._path, calibration)
        except ModelError as exc:
            raise DeclinedError("internal", str(exc)) from exc
        return Threshold(
            session=request.session,
            seq=request.seq,
            model_id=manifest.model_id,
            threshold=calibration.threshold,
            per_tenfold=calibration.per_tenfold,
            margin=calibration.margin,
            made_at=calibration.made_at,
        )
