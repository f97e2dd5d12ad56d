"""The crop contract, its JPEG and its landmarks take nothing from the embedded model."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.dlib_path import WAYS, Ways
from hub.embedding.dlib_onnx import graph_path
from tests.data import DATA, needs_data
from vision.runtime import load_network

PEOPLE = ("George_Robertson", "Colin_Powell", "Ariel_Sharon", "Hugo_Chavez", "Jean_Chretien", "Tony_Blair")
pytestmark = needs_data


def test_faces_are_as_alike_as_on_dlibs_own_way() -> None:
    folders = [folder for folder in (DATA / "lfw" / "images" / name for name in PEOPLE) if folder.is_dir()]
    photos = [path for folder in folders for path in sorted(folder.iterdir())[:3]]
    assert len(folders) >= 4
    ways, network = Ways(), load_network(graph_path(), threads=1)
    rows, people = [], []
    for path in photos:
        chips = ways.chips(np.asarray(cv2.imread(str(path)), np.uint8))
        if chips is not None:
            raw = network.run(np.stack([chips[way] for way in WAYS]).astype(np.float32))[0]
            rows.append(raw / np.linalg.norm(raw, axis=1, keepdims=True))
            people.append(path.parent.name)
    vectors = np.stack(rows).transpose(1, 0, 2)
    product, mtcnn, dlib = vectors
    assert (product * mtcnn).sum(axis=1).mean() > 0.995, "the same box: only crop and JPEG differ"

    one_person = np.array(people)[:, None] == np.array(people)[None]
    apart = {}
    for name, v in zip(WAYS, (product, mtcnn, dlib), strict=True):
        similarity = v @ v.T
        apart[name] = (
            similarity[one_person & ~np.eye(len(v), dtype=bool)].mean() - similarity[~one_person].mean()
        )
    assert apart["product"] > 0.97 * max(apart["mtcnn"], apart["dlib"])
