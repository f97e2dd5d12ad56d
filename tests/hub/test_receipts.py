"""A receipt is believed only as the hub signed it, and says no more than it must."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.embedding.port import ModelManifest
from hub.gallery import Gallery
from hub.receipts import Check, ReceiptError, is_unknown, sign_receipt, verify_receipt
from hub.signing import public_bytes
from hub.store.erase import Erased
from hub.subjects import check_unknown
from protocol.messages import Person, Template

AT = 1_700_000_000.0
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
MANIFEST = ModelManifest("m-4", 4, "0" * 64, "none", 0.9, 0.1, "by hand")
GOOD = Check(8, 2, 0, 0)


def erased(*rows: list[float], model: str = "m-4", left: int = 0) -> Erased:
    template = Template(model_id=model, source="a.jpg", quality=0.5, added_at=AT, photo_kept=True)
    person = Person(
        identity="a1", name="Ada Lovelace", added_at=AT, consented=False, consents=(), templates=(template,)
    )
    embeddings = tuple((model, np.array(row, "<f4").tobytes()) for row in rows)
    return Erased(person, embeddings, left, True, True)


def document(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(sign_receipt(erased(), GOOD, AT, KEY))
    return made | changes


def test_a_receipt_says_what_was_destroyed() -> None:
    text = sign_receipt(erased(), GOOD, AT, KEY)
    body = verify_receipt(text, public_bytes(KEY))
    assert (body["identity"], body["templates"], body["photos"], body["consents"]) == ("a1", 1, 1, 0)
    assert body["erased_at"] == "2023-11-14T22:13:20+00:00"
    assert body["is_unknown"] is True
    assert "Lovelace" not in text
    assert "a.jpg" not in text


def test_a_receipt_of_another_hub_is_not_believed() -> None:
    with pytest.raises(ReceiptError, match="not this hub's"):
        verify_receipt(sign_receipt(erased(), GOOD, AT, OTHER), public_bytes(KEY))


def test_a_key_that_was_put_in_is_not_believed() -> None:
    forged = json.loads(sign_receipt(erased(), GOOD, AT, OTHER))
    forged["public_key"] = base64.b64encode(public_bytes(KEY)).decode()
    with pytest.raises(ReceiptError, match="changed"):
        verify_receipt(json.dumps(forged), public_bytes(KEY))


@pytest.mark.parametrize("name", sorted(document()["receipt"]))
def test_no_word_of_it_can_be_changed(name: str) -> None:
    changed = document()
    changed["receipt"][name] = "something else"
    with pytest.raises(ReceiptError, match="changed"):
        verify_receipt(json.dumps(changed), public_bytes(KEY))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", "[" * 5_000, "x" * 20_000, '{"receipt": {}, "receipt": {}}']
    + [json.dumps(document(**change)) for change in ({"signature": 1}, {"signature": "é"}, {"receipt": []})]
    + [json.dumps(document(more="words"))],
)
def test_what_is_no_receipt_is_one_line(text: str) -> None:
    with pytest.raises(ReceiptError, match="not a receipt") as caught:
        verify_receipt(text, public_bytes(KEY))
    assert "\n" not in str(caught.value)


def test_a_value_that_stands_twice_is_refused() -> None:
    text = json.dumps(document()).replace('"identity": "a1"', '"identity": "b2", "identity": "a1"')
    with pytest.raises(ReceiptError, match="not a receipt"):
        verify_receipt(text, public_bytes(KEY))


def test_the_search_after_an_erasure() -> None:
    ada, bea = [1.0, 0, 0, 0], [0, 1.0, 0, 0]
    of_ada = erased(ada, ada)
    gallery = Gallery(8, 4, ["b2"], np.array([bea], np.float32))
    assert check_unknown(of_ada, gallery, MANIFEST) == Check(8, 2, 0, 0)
    still = Gallery(7, 4, ["a1", "b2"], np.array([ada, bea], np.float32))
    assert check_unknown(of_ada, still, MANIFEST).found_as_this_identity == 2
    twin = Gallery(8, 4, ["b2"], np.array([ada], np.float32))
    assert check_unknown(of_ada, twin, MANIFEST) == Check(8, 2, 0, 2)
    assert check_unknown(erased(ada, model="old"), still, MANIFEST) == Check(7, 0, 1, 0)
    assert check_unknown(of_ada, Gallery.empty(4), MANIFEST) == Check(0, 2, 0, 0)


@pytest.mark.parametrize(
    ("left", "check"), [(1, GOOD), (0, None), (0, Check(8, 2, 1, 0)), (0, Check(8, 2, 0, 1))]
)
def test_unknown_is_claimed_only_where_it_was_seen(left: int, check: Check | None) -> None:
    assert is_unknown(erased(), GOOD)
    assert not is_unknown(erased(left=left), check)
