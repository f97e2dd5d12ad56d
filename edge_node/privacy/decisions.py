"""Leases from the hub, and who is shown in a frame because of them.

`DecisionBook` is owned by the event loop (it hears the hub); it publishes `Leases`, an immutable
value that the release thread reads. `plan` is the only place where a region becomes visible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edge_node.frames import ShownFace
from edge_node.privacy.timeline import Region, covered, grow
from edge_node.tracking.track import Box, Evidence
from protocol.messages import FaceDecision, Revoke

MAX_PENDING = 256
"""Questions under way at most; the oldest is given up (its answer then counts as unasked)."""
MAX_ANSWERED = 256
"""Tracks whose latest answer is remembered; the one answered longest ago is forgotten first."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The hub allows this track to be shown until `expires_at` (monotonic seconds)."""

    track: int
    expires_at: float
    identity: str
    name: str


@dataclass(frozen=True, slots=True)
class Leases:
    """A snapshot of all leases."""

    by_track: Mapping[int, Lease] = field(default_factory=dict)
    session: int | None = None
    """Counts sessions with the hub; None while there is none."""
    answered_at: Mapping[int, float] = field(default_factory=dict)
    """When the latest question about a track that was answered had left."""

    def live(self, track: int, now: float) -> Lease | None:
        """The unexpired lease of a track."""
        lease = self.by_track.get(track)
        return lease if lease is not None and now < lease.expires_at else None


class DecisionBook:
    """What was asked, what was answered, what still holds. Fails closed.

    An answer counts only if its question is pending, for the same track, in this session, and came
    in time; the lease runs from the moment of the *question*, so a delayed answer is a shorter one.
    """

    def __init__(self, max_answer_s: float = 2.0, max_lease_s: float = 10.0) -> None:
        self._max_answer_s = max_answer_s
        self._max_lease_s = max_lease_s
        self._pending: dict[int, tuple[int, float]] = {}
        self._leases: dict[int, Lease] = {}
        self._answered_at: dict[int, float] = {}
        self._sessions = 0
        self._session: int | None = None
        self.leases = Leases()
        """The current snapshot; replaced, never changed."""

    def opened(self) -> None:
        """A session with the hub stands: nothing said before it holds."""
        self._sessions += 1
        self._session = self._sessions
        self._veil_everyone()

    def lost(self) -> None:
        """The session is over: nothing said in it holds."""
        self._session = None
        self._veil_everyone()

    def _veil_everyone(self) -> None:
        self._pending.clear()
        self._leases.clear()
        self._answered_at.clear()
        self._publish()

    def asked(self, seq: int, track: int, now: float) -> None:
        """Question `seq` about `track` left at `now`."""
        if self._session is None:
            return
        if len(self._pending) >= MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        self._pending[seq] = (track, now)

    def answered(self, decision: FaceDecision, now: float) -> bool:
        """Take an answer. False where it was late, unasked or about another track, or would show a face
        of which a later look has been answered already."""
        track, asked_at = self._pending.pop(decision.seq, (None, 0.0))
        if track is None or track != decision.track or now - asked_at > self._max_answer_s:
            return False
        newest_at = self._answered_at.pop(track, asked_at)
        self._answered_at[track] = max(newest_at, asked_at)
        if decision.reveal and asked_at < newest_at:
            return False
        if decision.reveal and decision.lease_s > 0:
            expires_at = asked_at + min(decision.lease_s, self._max_lease_s)
            self._leases[track] = Lease(track, expires_at, decision.identity, decision.name)
        else:
            self._leases.pop(track, None)
        if len(self._answered_at) > MAX_ANSWERED:
            del self._answered_at[next(iter(self._answered_at))]
        self._forget_expired(now)
        return True

    def gave_up(self, seq: int) -> None:
        """The hub refused question `seq`: no answer will come."""
        self._pending.pop(seq, None)

    def revoked(self, revoke: Revoke) -> None:
        """Veil at once whom the hub names; everyone where it names nobody."""
        if not revoke.tracks and not revoke.identities:
            self._veil_everyone()
            return
        tracks, identities = set(revoke.tracks), set(revoke.identities)
        self._leases = {
            t: lease
            for t, lease in self._leases.items()
            if t not in tracks and lease.identity not in identities
        }
        # An answer on its way may have been given before the revocation: it counts as unasked.
        self._pending.clear()
        self._publish()

    def _forget_expired(self, now: float) -> None:
        self._leases = {t: lease for t, lease in self._leases.items() if now < lease.expires_at}
        self._publish()

    def _publish(self) -> None:
        self.leases = Leases(dict(self._leases), self._session, dict(self._answered_at))


@dataclass(frozen=True, slots=True)
class Plan:
    """What to paint on one frame."""

    veiled: tuple[Box, ...]
    """Face boxes to veil (the veil grows them itself)."""
    shown: tuple[ShownFace, ...]


STALE = (Evidence.COASTED, Evidence.BACKFILLED)
"""Nobody was seen there at this instant."""
COVERS = 0.2
"""Share of a shown face from which one counts that was never sure to be a face, and is not seen now."""


def plan(regions: Iterable[Region], leases: Leases, now: float, veil_growth: float) -> Plan:
    """Sort the faces of one frame into veiled and shown.

    A face is shown if its region is trusted, its track holds a live lease at `now`, and it meets
    no veiled face (as grown by `veil_growth` for painting); that last rule is applied until nothing
    changes. A veiled region that only coasts, or is carried back, has been grown for its age already and may
    hold nobody by now: it counts as it is; where no detector was ever sure of it, only if it covers enough of
    the shown face. It is painted all the same.
    """
    veiled: list[Box] = []
    stale: list[Box] = []
    guesses: list[Box] = []
    candidates: list[tuple[Region, Lease]] = []
    for region in regions:
        lease = leases.live(region.track, now) if region.trusted else None
        if lease is None:
            if region.evidence not in STALE:
                veiled.append(region.box_xyxy)
            else:
                (stale if region.sure else guesses).append(region.box_xyxy)
        else:
            candidates.append((region, lease))
    has_changed = True
    while has_changed:
        clear = [
            (region, lease)
            for region, lease in candidates
            if not any(_meet(region.box_xyxy, grow(box, veil_growth)) for box in veiled)
            and not any(_meet(region.box_xyxy, box) for box in stale)
            and not any(covered(region.box_xyxy, box) > COVERS for box in guesses)
        ]
        has_changed = len(clear) < len(candidates)
        veiled += [r.box_xyxy for r, lease in candidates if (r, lease) not in clear]
        candidates = clear
    shown = tuple(ShownFace(r.track, lease.name, r.box_xyxy, lease.identity) for r, lease in candidates)
    return Plan((*veiled, *stale, *guesses), shown)


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
