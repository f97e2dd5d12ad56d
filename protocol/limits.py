"""Every limit on what arrives, each with the reason for its number. Checked before allocation."""

MAX_TEXT_CHARS = 512
"""A sentence for people; anything longer is not an explanation."""

MAX_NAME_CHARS = 128
"""Names of people and nodes: longer than any real one, short enough for a table."""

MAX_DURATION_S = 86_400.0
"""Leases and pauses last seconds; a day is already a mistake."""

MAX_EPOCH_S = 253_402_300_799.0
"""The last second of the year 9999, the end of Python's datetime."""

MAX_PIXEL = 65_536.0
"""Larger than any sensor; keeps NaN and infinities out of geometry."""

MAX_CAMERAS = 256
"""Cameras named in one consent; a consent for more names none and covers all."""

MAX_TRACKS = 1_024
"""Faces named in one revocation: many times what fits into a picture."""

MAX_FPS = 1_000.0
"""Pictures a second: beyond any camera that is watched by people."""

MAX_PHOTOS = 16
"""Photos in one enrolment message: more photos travel in more messages."""

MAX_DIMENSION = 4_096
"""Numbers in an embedding: twice those of the largest model here."""

MAX_VECTOR_BYTES = 4 * MAX_DIMENSION * MAX_PHOTOS
"""The directions of one likeness; a quarter of what a header may hold."""

MAX_TEMPLATES = 256
"""Templates of one person; beyond this more photos do not change a decision."""

MAX_CONSENTS = 256
"""Consents kept for one person."""

MAX_PEOPLE_PER_PAGE = 50
"""People in one list message, so that a page stays below MAX_HEADER_BYTES."""

MAX_VISITORS = 16
"""Unknown people grouped at once: more cannot be told apart by when they came."""

MAX_GROUPING_S = 1_800.0
"""Visitors are grouped while somebody stands by; half an hour of that is long."""

MAX_PIECES = 512
"""Pieces of a document in one message: with MAX_TEXT_CHARS characters each a quarter of a megabyte."""

MAX_DOCUMENT_CHARS = 64 * 2**20
"""A whole document: 256 kept photos make 10 MB; the rest is for when someone was shown."""

MAX_TICKET_CHARS = 768
"""A viewer's ticket with the longest names of one-byte letters has about 500."""

MAX_TICKET_S = 900.0
"""A ticket cannot be called back, so it lives for minutes."""

MAX_HEADER_BYTES = 1_048_576
"""The MessagePack part. The largest honest one is a page of people with their histories."""

MAX_REQUEST_HEADER_BYTES = 262_144
"""The MessagePack part on its way to the hub. The largest honest one enrols MAX_PHOTOS photos for
MAX_CAMERAS cameras with long names: about 170 KB."""

MAX_DEPTH = 8
"""Nesting of the MessagePack part; people with consents with cameras make five."""

MAX_HEARTBEAT_S = 60.0
MIN_HEARTBEAT_S = 0.05
"""A slower heartbeat notices nothing in time; a faster one is a flood."""

MAX_CROP_BYTES = 131_072
"""One JPEG of 224x224 at quality 95: about 20 KB for a face, below 128 KB even for pure noise."""

MAX_PARTS = 1 + MAX_PHOTOS
"""Header and crops."""
