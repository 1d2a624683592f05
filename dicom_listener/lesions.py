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
from model.domain import Lesion, RejectionReason, derived_uid
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


@dataclass(slots=True, kw_only=True, eq=False)
class _Candidate:
    outlined: OutlinedLesion
    voxels: NDArray[np.intp]
    """Places of the lesion's voxels in the flattened grid, in rising order."""
    drawn: Drawn
    is_in_doubt: bool = False

    @property
    def sop_instance_uid(self) -> str:
        return self.outlined.lesion.source.sop_instance_uid

    @property
    def order(self) -> tuple[int, bool, bool, str, int]:
        """The largest first; of equal ones that which is stated elsewhere, then that which says more."""
        lesion = self.outlined.lesion
        return (
            -len(self.voxels),
            self.outlined.in_liver is not False,
            lesion.finding_site is None,
            lesion.source.sop_instance_uid,
            lesion.source.number,
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
    their dates do not decide, the larger is kept, in doubt.

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
        candidates.extend(
            _Candidate(outlined=each, voxels=np.flatnonzero(each.lesion.mask), drawn=outline.drawn)
            for each in found.lesions
        )
        # After each object, so that no more than twice MOST_LESIONS masks are ever in memory.
        candidates = _settled(candidates, tally)
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
    return StudyLesions(
        lesions=tuple(
            StudyLesion(lesion=lesion, in_liver=each.outlined.in_liver, is_in_doubt=each.is_in_doubt)
            for lesion, each in zip(_with_own_tracking_uids(candidates), candidates, strict=True)
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


def _settled(candidates: Iterable[_Candidate], tally: _Tally) -> list[_Candidate]:
    """Return each lesion once and the largest of them, in order, and count the others in `tally`."""
    unique = _without_repeats(sorted(candidates, key=lambda each: each.order), tally)
    kept = _without_corrected(unique, tally)
    tally.too_many += max(0, len(kept) - MOST_LESIONS)
    return kept[:MOST_LESIONS]


def _without_repeats(candidates: Sequence[_Candidate], tally: _Tally) -> list[_Candidate]:
    """Return one of those that are equal voxel by voxel: the newest that says where it is, or the first."""
    unique: list[_Candidate] = []
    for candidate in candidates:
        same = next(
            (place for place, other in enumerate(unique) if np.array_equal(other.voxels, candidate.voxels)),
            None,
        )
        if same is None:
            unique.append(candidate)
            continue
        tally.repeats += 1
        if candidate.outlined.in_liver is not None and candidate.drawn.is_newer_than(unique[same].drawn):
            unique[same] = candidate
    return unique


def _without_corrected(candidates: Sequence[_Candidate], tally: _Tally) -> list[_Candidate]:
    """Return what is left when of several outlines of one lesion the newest counts, else the larger."""
    pairs = [
        (larger, smaller)
        for place, larger in enumerate(candidates)
        for smaller in candidates[place + 1 :]
        if _are_of_one_lesion(larger, smaller)
    ]
    dropped: set[int] = set()
    for larger, smaller in pairs:
        is_newer = larger.drawn.is_newer_than(smaller.drawn)
        if is_newer is not None:
            dropped.add(id(smaller if is_newer else larger))
    tally.replaced += len(dropped)
    for larger, smaller in pairs:
        if id(larger) not in dropped and id(smaller) not in dropped:
            dropped.add(id(smaller))
            larger.is_in_doubt = True
            tally.undecided += 1
    return [each for each in candidates if id(each) not in dropped]


def _are_of_one_lesion(one: _Candidate, other: _Candidate) -> bool:
    if one.sop_instance_uid == other.sop_instance_uid:
        return False  # whoever draws two in one object means two
    first, second = one.outlined, other.outlined
    if first.is_tracked and second.is_tracked and first.lesion.tracking_uid == second.lesion.tracking_uid:
        return True
    together = len(one.voxels) + len(other.voxels)
    if 2 * min(len(one.voxels), len(other.voxels)) < _SAME_LESION_DICE * together:
        return False  # not even if the smaller lay inside the larger
    shared = np.intersect1d(one.voxels, other.voxels, assume_unique=True)
    return 2 * len(shared) >= _SAME_LESION_DICE * together


def _with_own_tracking_uids(candidates: Iterable[_Candidate]) -> list[Lesion]:
    """Return the lesions, each with a tracking UID of its own: the report needs to tell them apart."""
    lesions: list[Lesion] = []
    for candidate in candidates:
        lesion = candidate.outlined.lesion
        if any(lesion.tracking_uid == other.tracking_uid for other in lesions):
            source = lesion.source
            again = derived_uid("lesion", source.sop_instance_uid, str(source.number))
            lesion = replace(lesion, tracking_uid=again)
        lesions.append(lesion)
    return lesions


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
