"""The guards of the node, and how each is removed. Only the list; `tests.faults.hunt` lets them loose.

A mutant is a replacement in the source of one module. `docs/faults.md` names every one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement in the source of one module."""

    module: str
    old: str
    new: str

    @property
    def path(self) -> Path:
        return ROOT / (self.module.replace(".", "/") + ".py")

    def source(self) -> str:
        """The module's source after the edit. Raises ValueError where the guard has moved."""
        return self.applied(self.path.read_text())

    def applied(self, text: str) -> str:
        """The edit in a source that may hold others already."""
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.module} holds {self.old.strip()!r} {text.count(self.old)} times, not once"
            )
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guard, how it is removed, and the faults that it stands against."""

    name: str
    module: str
    old: str
    new: str
    scenarios: tuple[str, ...]
    also: Edit | None = None
    """A second guard against the same, removed with the first: either alone keeps the promise."""

    @property
    def edits(self) -> list[Edit]:
        first = Edit(self.module, self.old, self.new)
        return [first] if self.also is None else [first, self.also]


DECISIONS = "edge_node.privacy.decisions"
TIMELINE = "edge_node.privacy.timeline"
RELEASE = "edge_node.privacy.release"
TRACKER = "edge_node.tracking.tracker"
ANALYSIS = "edge_node.analysis"
PIPELINE = "edge_node.pipeline"
HUB_LINK = "edge_node.hub_link"
SESSION = "protocol.session"

LOOKS_BEYOND = Edit(
    TIMELINE,
    '            raise ValueError("no analysis covers this instant yet")\n',
    "            at = self.covered_until\n",
)

BY_NUMBER = Edit(
    TIMELINE,
    "            box = _union(box, _lerp(a.box_xyxy, b.box_xyxy, by_number))\n",
    "",
)

LOOKS_CHANGE = Edit(
    TRACKER, "    appearance_jump: float = APPEARANCE_JUMP\n", "    appearance_jump: float = 9.0\n"
)

OVERTAKEN = Edit(DECISIONS, "        if decision.reveal and asked_at < newest_at:\n", "        if False:\n")

MUTANTS = (
    Mutant(
        "late answers count", DECISIONS,
        " or now - asked_at > self._max_answer_s:", ":",
        ("the_hub_is_slow", "the_line_is_slow"),
    ),
    Mutant(
        "unasked answers count", DECISIONS,
        "track, asked_at = self._pending.pop(decision.seq, (None, 0.0))",
        "track, asked_at = self._pending.pop(decision.seq, (decision.track, now))",
        ("answers_nobody_asked_for", "answers_of_long_ago"),
    ),
    Mutant(
        "answers count twice", DECISIONS,
        "self._pending.pop(decision.seq, (None, 0.0))", "self._pending.get(decision.seq, (None, 0.0))",
        ("the_hub_contradicts_itself",), OVERTAKEN,
    ),
    Mutant(
        "answers for other tracks count", DECISIONS,
        "track is None or track != decision.track or", "track is None or",
        ("answers_for_another_track",),
    ),
    Mutant(
        "overtaken answers count", DECISIONS, OVERTAKEN.old, OVERTAKEN.new,
        ("vetoes_overtake_answers",),
    ),
    Mutant(
        "leases do not expire", DECISIONS,
        "if lease is not None and now < lease.expires_at else None", "if lease is not None else None",
        ("the_hub_falls_silent", "leases_of_no_length"),
    ),
    Mutant(
        "leases run from the answer", DECISIONS,
        "expires_at = asked_at + min(", "expires_at = now + min(",
        ("the_hub_is_slow", "the_line_is_slow"),
    ),
    Mutant(
        "leases have no longest length", DECISIONS,
        "min(decision.lease_s, self._max_lease_s)", "decision.lease_s",
        ("leases_without_end",),
    ),
    Mutant(
        "a veto is not heard", DECISIONS,
        "            self._leases.pop(track, None)\n", "            pass\n",
        ("the_hub_contradicts_itself",),
    ),
    Mutant(
        "a lost session keeps its leases", DECISIONS,
        "        self._session = None\n        self._veil_everyone()\n", "        self._session = None\n",
        ("the_hub_is_killed", "the_line_is_cut"),
    ),
    Mutant(
        "a lost session is not told", HUB_LINK,
        "        self._book.lost()\n", "",
        ("the_hub_is_killed", "the_line_is_cut"),
    ),
    Mutant(
        "old questions live on", DECISIONS,
        "    def _veil_everyone(self) -> None:\n        self._pending.clear()\n",
        "    def _veil_everyone(self) -> None:\n",
        ("answers_of_another_session",),
    ),
    Mutant(
        "silence goes unnoticed", SESSION,
        "            if now >= self._heard_at + silence_s:\n                return self._lost(",
        "            if now >= self._heard_at + 1e9:\n                return self._lost(",
        ("the_hub_is_killed", "the_hub_is_stopped", "the_line_is_cut"),
    ),
    Mutant(
        "revocations are not heard", HUB_LINK,
        "        self._book.revoked(revoke)\n", "",
        ("consents_are_withdrawn",),
    ),
    Mutant(
        "answers overtaken by a revocation count", DECISIONS,
        "        # An answer on its way may have been given before the revocation: it counts as unasked.\n"
        "        self._pending.clear()\n", "",
        ("revocations_overtake_answers",),
    ),
    Mutant(
        "doubt is ignored", DECISIONS,
        "leases.live(region.track, now) if region.trusted else None", "leases.live(region.track, now)",
        ("detector_is_unsure", "one_who_may_be_shown_leaps_into_place"),
    ),
    Mutant(
        "faces are shown across veiled ones", DECISIONS,
        "            if not any(_meet(region.box_xyxy, grow(box, veil_growth)) for box in veiled)\n"
        "            and not any(_meet(region.box_xyxy, box) for box in stale)\n", "            if True\n",
        ("people_cross",),
    ),
    Mutant(
        "faces are shown across guesses", DECISIONS,
        "            and not any(_meet(region.box_xyxy, box) for box in stale)\n", "",
        ("people_cross",),
    ),
    Mutant(
        "doubt does not spread", DECISIONS,
        "        has_changed = len(clear) < len(candidates)\n", "        has_changed = False\n",
        ("people_meet_in_a_row",),
    ),
    Mutant(
        "frames leave uncovered", RELEASE,
        "            if frame.captured_at + lookback_s <= covered_until:\n", "            if True:\n",
        ("people_come_and_go", "analysis_is_slow"), LOOKS_BEYOND,
    ),
    Mutant(
        "nobody looks back", RELEASE,
        "            lookback_s = 0.0 if is_last else self._lookback_of(frame)\n",
        "            lookback_s = 0.0\n",
        ("newcomers_are_seen_late",),
    ),
    Mutant(
        "every scene counts as calm", RELEASE,
        "        if not is_calm:\n", "        if False:\n",
        ("somebody_comes_into_a_calm_scene",),
    ),
    Mutant(
        "a scene is calm at once", RELEASE,
        "self._calm_since + CALM_AFTER_S:", "self._calm_since:",
        ("somebody_comes_into_a_calm_scene",),
    ),
    Mutant(
        "a picture that changes counts as calm", "edge_node.tracking.stillness",
        "        return int(np.count_nonzero(has_changed)) <= FEW_CELLS\n", "        return True\n",
        ("somebody_comes_into_a_calm_scene",),
    ),
    Mutant(
        "late frames count as covered", RELEASE,
        "is_covered = frame.captured_at <= covered_until", "is_covered = True",
        ("analysis_is_slow", "analysis_stalls", "detector_raises"), LOOKS_BEYOND,
    ),
    Mutant(
        "a veil that fails is left out", PIPELINE,
        "            return mask_fully(release.frame, ReleaseReason.FAULT)\n",
        "            from edge_node.privacy.decisions import Plan\n"
        "            return mask(release.frame, Plan((), ()), self._veil)\n",
        ("the_veil_fails",),
    ),
    Mutant(
        "a veil that fails stops the release", PIPELINE,
        "        except Exception as exc:  # noqa: BLE001 - fail closed: whatever it was, the frame is veiled\n",
        "        except ZeroDivisionError as exc:\n",
        ("the_veil_fails",),
    ),
    Mutant(
        "a sink that fails stops the others", PIPELINE,
        "            except Exception as exc:  # noqa: BLE001 - one sink's trouble must not reach the others\n",
        "            except ZeroDivisionError as exc:\n",
        ("a_sink_fails",),
    ),
    Mutant(
        "leases follow the wall clock", PIPELINE,
        "            now = time.monotonic()\n            decided = plan(",
        "            now = time.time()\n            decided = plan(",
        ("the_wall_clock_steps",),
    ),
    Mutant(
        "numbers that are none pass", ANALYSIS,
        "        if not np.isfinite(values).all():\n", "        if False:\n",
        ("detector_returns_nan_scores", "detector_returns_nan_boxes"),
    ),
    Mutant(
        "a detector that fails found nobody", PIPELINE,
        "            analysis = self._analyzer.analyze(frame, age_s)\n",
        "            try:\n"
        "                analysis = self._analyzer.analyze(frame, age_s)\n"
        "            except RuntimeError:\n"
        "                analysis = Analysis(frame.seq, frame.captured_at, ())\n",
        ("detector_raises",),
    ),
    Mutant(
        "cuts are not noticed", ANALYSIS,
        "        is_cut = self._is_cut(image)\n", "        is_cut = False\n",
        ("cuts",), LOOKS_CHANGE,
    ),
    Mutant(
        "a cut ends no tracks", ANALYSIS,
        "            self._tracker.reset()\n", "            pass\n",
        ("cuts",), LOOKS_CHANGE,
    ),
    Mutant(
        "faces are not veiled backwards", TIMELINE,
        "        if age > self._settings.backfill_s:\n", "        if True:\n",
        ("people_come_and_go", "analysis_is_slow"),
    ),
    Mutant(
        "ended faces are dropped at once", TIMELINE,
        "            return self._held(line, last.face, at - last.at)\n", "            return None\n",
        ("cuts_while_analysis_is_slow",),
    ),
    Mutant(
        "regions do not grow with age", TIMELINE,
        "return 1.0 + min(s.max_growth, s.growth_per_s * max(0.0, age_s))", "return 1.0",
        ("detector_misses",),
    ),
    Mutant(
        "faces are not interpolated", TIMELINE,
        "        box = _lerp(a.box_xyxy, b.box_xyxy, share)\n        unseen_s",
        "        box = a.box_xyxy\n        unseen_s",
        ("people_hurry_while_analysis_is_slow",), BY_NUMBER,
    ),
    Mutant(
        "a switch between two analyses is shown", TIMELINE,
        "trusted=_may_show(a) and _may_show(b) and a.track == b.track,", "trusted=_may_show(a) and _may_show(b),",
        ("two_swap_while_frames_wait",),
    ),
    Mutant(
        "lost faces are forgotten at once", TRACKER,
        "return s.coast_s if path.hits > s.confirm_hits else s.coast_tentative_s", "return 0.0",
        ("detector_misses", "detector_flickers"),
    ),
    Mutant(
        "parted faces keep their tracks", TRACKER,
        "            if path.crossed_with - touching:\n", "            if False:\n",
        ("two_swap_while_they_touch",), LOOKS_CHANGE,
    ),
    Mutant(
        "leaps keep their tracks", TRACKER,
        "        return gap > self._settings.jump", "        return False and gap > self._settings.jump",
        ("a_stranger_leaps_into_place",), LOOKS_CHANGE,
    ),
    Mutant(
        "a lost face is given up for another", TRACKER,
        "                if path.evidence is Evidence.COASTED and self._has_jumped(",
        "                if False and self._has_jumped(",
        ("somebody_joins_one_who_is_missed",),
    ),
    Mutant(
        "a path that lost its face takes another's", TRACKER,
        "np.lexsort((-refined.scores, np.array(is_lost, np.bool_)))", "np.argsort(-refined.scores)",
        ("detector_misses",),
    ),
    Mutant(
        "faces of a burst move at once", ANALYSIS,
        "        now, image = self._pace.at(frame.captured_at, frame.seq), frame.image\n",
        "        now, image = frame.captured_at, frame.image\n",
        ("camera_is_held_up_while_faces_are_missed",),
    ),
    Mutant(
        "frames out of order pass", RELEASE,
        "            self._disordered.add(frame.seq)\n", "            pass\n",
        ("camera_hands_out_old_frames",),
    ),
    Mutant(
        "faces return after any time", TRACKER,
        "if self._has_jumped(path, box) or now - path.seen_at > self._settings.reprove_after_s:",
        "if self._has_jumped(path, box):",
        ("two_swap_while_hidden",), LOOKS_CHANGE,
    ),
    Mutant(
        "a change of looks is ignored", TRACKER, LOOKS_CHANGE.old, LOOKS_CHANGE.new,
        ("two_swap_in_a_blink",),
    ),
    Mutant(
        "the veil is too small", "edge_node.privacy.veil",
        "    half = growth / 2\n", "    half = growth / 4.5\n",
        ("calm",),
    ),
)  # fmt: skip
