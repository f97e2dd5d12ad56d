"""Every message has the bytes it had when its version was published.

The files of tests/golden/ are made by `python -m tests.protocol.test_golden`, which adds missing ones
and refuses to change one that is there: changed bytes are a new protocol version.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from protocol.codec import TYPES, decode, encode
from protocol.messages import PROTOCOL_VERSIONS, AnyMessage
from tests.protocol.examples import EXAMPLES

FOLDER = Path(__file__).parent.parent / "golden"


def golden_file(message: AnyMessage) -> Path:
    tag = message.__struct_config__.tag
    return FOLDER / f"{tag}.v{PROTOCOL_VERSIONS[0]}.msgpack"


def test_every_type_has_an_example_and_a_file() -> None:
    assert {type(message) for message, _ in EXAMPLES} == set(TYPES.values())
    files = {path.name for path in FOLDER.glob("*.msgpack")}
    assert files == {golden_file(message).name for message, _ in EXAMPLES}


@pytest.mark.parametrize(("message", "payloads"), EXAMPLES, ids=lambda v: type(v).__name__)
def test_bytes_are_those_of_the_golden_file(message: AnyMessage, payloads: tuple[bytes, ...]) -> None:
    golden = golden_file(message).read_bytes()
    assert encode(message, payloads) == [golden, *payloads]
    assert decode([golden, *payloads]) == (message, payloads)


def main() -> int:
    """Write the files that are missing; 1 where one would change."""
    FOLDER.mkdir(exist_ok=True)
    status = 0
    for message, payloads in EXAMPLES:
        path, header = golden_file(message), encode(message, payloads)[0]
        if not path.exists():
            path.write_bytes(header)
            print(f"wrote {path}")
        elif path.read_bytes() != header:
            print(f"{path} differs and is left alone: raise the protocol version", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
