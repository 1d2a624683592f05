# SPDX-License-Identifier: Apache-2.0
"""From all outlines of a series to its lesions: each once, by its newest outline, largest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dicom_listener import segmentation, structures
from dicom_listener.outline import MOST_LESIONS, Drawn, LesionRule, Outline, OutlinedLesion, OutlinedLesions
from dicom_listener.selection import Selection
from model.domain import Code, Lesion, OutlineSource, RejectionReason, derived_uid
from model.errors import RejectedStudy

_SAME_LESION_DICE = 0.5
"""Two outlines with at least this overlap are of one lesion: for equal volumes, two thirds of each."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyLesion:
    """A lesion of the study by the outline that counts."""

    lesion: Lesion
    in_liver: bool | None
    """Whether its outline places it in the liver; None where the outline says nothing."""
    is_in_doubt: bool
    """Whether another outline of it differs, and no date tells which of both replaces the other."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyLesions:
    """The lesions outlined on one series."""

    lesions: tuple[StudyLesion, ...]
    """Largest first, by voxels; at most MOST_LESIONS."""
    notes: tuple[str, ...]
    left_out: int
    """Outlined lesions that are not among them; an object whose header cannot be read counts as one."""
    largest_in_doubt: bool
    """Whether one that was left out may be larger than the first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Candidate:
    """An outlined lesion without its mask: all objects are compared at once, for masks too many."""

    voxels: NDArray[np.intp]
    """Places of the lesion's voxels in the flattened grid, in rising order."""
    source: OutlineSource
    tracking_uid: str
    finding_site: Code | None
    in_liver: bool | None
    drawn: Drawn
    sop_instance_uids: frozenset[str]
    """The objects that hold this outline, voxel by voxel."""
    stated_tracking_uids: frozenset[str]
    """The tracking UIDs that these objects state for it."""

    @property
    def order(self) -> tuple[int, bool, bool, str, int]:
        """The largest first; of equal ones that which is stated elsewhere, then that which says more."""
        return (
            -len(self.voxels),
            self.in_liver is not False,
            self.finding_site is None,
            self.source.sop_instance_uid,
            self.source.number,
        )

    def lesion(self, shape: tuple[int, int, int]) -> Lesion:
        """Return the lesion with its mask on a grid of `shape`."""
        mask = np.zeros(shape, dtype=np.bool_)
        mask.ravel()[self.voxels] = True
        return Lesion(
            tracking_uid=self.tracking_uid, mask=mask, source=self.source, finding_site=self.finding_site
        )


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What happened to outlines that are not among the lesions."""

    repeats: int = 0
    replaced: int = 0
    undecided: int = 0
    too_many: int = 0


def read_lesions(selection: Selection, rule: LesionRule) -> StudyLesions:
    """Read every outline of the selected series and return its lesions.

    A corrected outline usually arrives beside the one that it corrects, as an object of its
    own. Outlines of different objects are of one lesion when they share a stated tracking
    UID or overlap by half; the newer counts, and the older is not a second lesion. Where
    their dates do not decide, the larger is kept, in doubt. The order of the objects does
    not matter.

    Memory holds the masks of one object, at most MOST_LESIONS, and of every outlined lesion
    eight bytes for each of its voxels.

    Raises
    ------
    RejectedStudy
        No outline holds a lesion; with the reason of the first that was rejected.
    """
    candidates: list[_Candidate] = []
    notes: list[str] = []
    rejections: list[RejectedStudy] = []
    tally = _Tally()
    left_out, in_doubt = 0, False
    for outline in selection.drawn:
        try:
            found = _read(outline, selection, rule)
        except RejectedStudy as rejection:
            rejections.append(rejection)
            left_out += len(outline.lesion_numbers)
            continue
        notes.extend(found.notes)
        left_out += found.left_out
        in_doubt = in_doubt or found.largest_in_doubt
        candidates.extend(_candidates(found.lesions, outline.drawn))
        # Only places of voxels are kept: of masks, no more than the MOST_LESIONS of an object are in memory.
        del found
    if not candidates:
        raise (
            rejections[0]
            if rejections
            else RejectedStudy(RejectionReason.LESION_TOO_SMALL, "no outlined lesion holds a voxel")
        )
    notes.extend(f"an outline was left out: {rejection}" for rejection in rejections)
    notes.extend(
        f"an outline was left out: {RejectedStudy(each.reason, each.detail)}" for each in selection.unread
    )
    # Once over all objects: else an outline could replace another, or bring doubt, before it is replaced.
    settled, doubtful = _settled(candidates, tally)
    settled = _with_own_tracking_uids(settled)
    shape = selection.series.geometry.shape
    return StudyLesions(
        lesions=tuple(
            StudyLesion(lesion=each.lesion(shape), in_liver=each.in_liver, is_in_doubt=place in doubtful)
            for place, each in enumerate(settled)
        ),
        notes=(*notes, *_notes(tally)),
        left_out=left_out + len(selection.unread) + tally.too_many,
        largest_in_doubt=in_doubt or bool(rejections or selection.unread),
    )


def _read(outline: Outline, selection: Selection, rule: LesionRule) -> OutlinedLesions:
    instance = outline.instance
    is_structure_set = instance.sop_class_uid == structures.STRUCTURE_SET_SOP_CLASS
    read = structures.read_lesions if is_structure_set else segmentation.read_lesions
    return read(
        instance,
        selection.series.geometry,
        rule,
        frame_of_reference_uid=selection.series.frame_of_reference_uid,
    )


def _candidates(outlined: Iterable[OutlinedLesion], drawn: Drawn) -> list[_Candidate]:
    return [
        _Candidate(
            voxels=np.flatnonzero(each.lesion.mask),
            source=each.lesion.source,
            tracking_uid=each.lesion.tracking_uid,
            finding_site=each.lesion.finding_site,
            in_liver=each.in_liver,
            drawn=drawn,
            sop_instance_uids=frozenset((each.lesion.source.sop_instance_uid,)),
            stated_tracking_uids=frozenset((each.lesion.tracking_uid,) if each.is_tracked else ()),
        )
        for each in outlined
    ]


def _settled(candidates: Iterable[_Candidate], tally: _Tally) -> tuple[list[_Candidate], frozenset[int]]:
    """Return each lesion once and the largest of them, in order, and count the others in `tally`.

    The second are the places of those that are in doubt.
    """
    unique = sorted(_without_repeats(candidates, tally), key=lambda each: each.order)
    kept, doubtful = _without_corrected(unique, tally)
    tally.too_many += max(0, len(kept) - MOST_LESIONS)
    return kept[:MOST_LESIONS], doubtful


def _without_repeats(candidates: Iterable[_Candidate], tally: _Tally) -> list[_Candidate]:
    """Return one for all those that are equal voxel by voxel."""
    groups: list[list[_Candidate]] = []
    for candidate in candidates:
        same = next(
            (group for group in groups if np.array_equal(group[0].voxels, candidate.voxels)),
            None,
        )
        if same is None:
            groups.append([candidate])
        else:
            same.append(candidate)
            tally.repeats += 1
    return [_merged(group) for group in groups]


def _merged(repeats: Sequence[_Candidate]) -> _Candidate:
    """Return the newest of `repeats` that says where the lesion is, or the newest, drawn when the newest was.

    Whoever draws an outline again confirms it: the date of the newest counts against other
    outlines also where an older one says more about the place.
    """
    telling = [each for each in repeats if each.in_liver is not None]
    return replace(
        min(_newest(telling or repeats), key=lambda each: each.order),
        drawn=max((each.drawn for each in _newest(repeats)), key=lambda drawn: drawn.moments),
        sop_instance_uids=frozenset().union(*(each.sop_instance_uids for each in repeats)),
        stated_tracking_uids=frozenset().union(*(each.stated_tracking_uids for each in repeats)),
    )


def _newest(candidates: Sequence[_Candidate]) -> Sequence[_Candidate]:
    """Return those than which no other is newer; all where the dates contradict each other."""
    return [
        each for each in candidates if not any(other.drawn.is_newer_than(each.drawn) for other in candidates)
    ] or candidates


def _without_corrected(
    candidates: Sequence[_Candidate], tally: _Tally
) -> tuple[list[_Candidate], frozenset[int]]:
    """Return what is left when of several outlines of one lesion the newest counts, else the larger.

    The second are the places, among those left, of outlines that are in doubt.
    """
    pairs = [
        (larger, smaller)
        for larger, one in enumerate(candidates)
        for smaller in range(larger + 1, len(candidates))
        if _are_of_one_lesion(one, candidates[smaller])
    ]
    dropped = _replaced(candidates, pairs)
    tally.replaced += len(dropped)
    doubtful: set[int] = set()
    for larger, smaller in pairs:
        if larger not in dropped and smaller not in dropped:
            dropped.add(smaller)
            doubtful.add(larger)
            tally.undecided += 1
    kept = [place for place in range(len(candidates)) if place not in dropped]
    return [candidates[place] for place in kept], frozenset(
        now for now, place in enumerate(kept) if place in doubtful
    )


def _replaced(candidates: Sequence[_Candidate], pairs: Iterable[tuple[int, int]]) -> set[int]:
    """Return the places of those that a newer outline of the same lesion replaces."""
    newer: dict[int, set[int]] = {}
    for one, other in pairs:
        is_newer = candidates[one].drawn.is_newer_than(candidates[other].drawn)
        if is_newer is not None:
            older, by = (other, one) if is_newer else (one, other)
            newer.setdefault(older, set()).add(by)

    def later(place: int) -> set[int]:
        found: set[int] = set()
        ahead = [place]
        while ahead:
            fresh = newer.get(ahead.pop(), set()) - found
            found |= fresh
            ahead.extend(fresh)
        return found

    # Dates of several kinds may go round in a circle; whoever is in it replaces no other of it.
    return {older for older, those in newer.items() if any(older not in later(each) for each in those)}


def _are_of_one_lesion(one: _Candidate, other: _Candidate) -> bool:
    if one.sop_instance_uids & other.sop_instance_uids:
        return False  # whoever draws two in one object means two
    if one.stated_tracking_uids & other.stated_tracking_uids:
        return True
    together = len(one.voxels) + len(other.voxels)
    if 2 * min(len(one.voxels), len(other.voxels)) < _SAME_LESION_DICE * together:
        return False  # not even if the smaller lay inside the larger
    if one.voxels[-1] < other.voxels[0] or other.voxels[-1] < one.voxels[0]:
        return False
    shared = np.intersect1d(one.voxels, other.voxels, assume_unique=True)
    return 2 * len(shared) >= _SAME_LESION_DICE * together


def _with_own_tracking_uids(candidates: Iterable[_Candidate]) -> list[_Candidate]:
    """Return `candidates`, each with a tracking UID of its own: the report needs to tell them apart."""
    told_apart: list[_Candidate] = []
    for candidate in candidates:
        each = candidate
        if any(each.tracking_uid == other.tracking_uid for other in told_apart):
            again = derived_uid("lesion", each.source.sop_instance_uid, str(each.source.number))
            each = replace(each, tracking_uid=again)
        told_apart.append(each)
    return told_apart


def _notes(tally: _Tally) -> list[str]:
    notes = []
    if tally.repeats:
        notes.append(f"{tally.repeats} outlines repeat another voxel by voxel and were measured once")
    if tally.replaced:
        notes.append(f"{tally.replaced} outlines were replaced by a newer outline of the same lesion")
    if tally.undecided:
        notes.append(
            f"{tally.undecided} outlines differ from another of the same lesion, no date tells which is"
            " newer, and the larger was measured"
        )
    if tally.too_many:
        notes.append(f"only the {MOST_LESIONS} largest lesions were measured, {tally.too_many} were left out")
    return notes
