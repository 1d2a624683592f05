# SPDX-License-Identifier: Apache-2.0
"""Which series of a study is measured, and why the others are not.

The rule: a series, or each stack of one that holds several, can be measured when it passes
every gate. Of those, one whose lesions are outlined is taken; of several, the contrast
phase that the model asks for before one that is not stated before another, CT before MR,
then the one with most slices, then the lowest Series Instance UID. The same study gives
the same choice whatever the order in which its instances came.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dicom_listener import segmentation, structures
from dicom_listener.candidates import Candidate, candidates_of
from dicom_listener.gates import ImageLimits
from dicom_listener.identity import Identity, one_identity
from dicom_listener.instance import StoredInstance
from dicom_listener.outline import Outline
from dicom_listener.series import MODALITY_OF_SOP_CLASS, ImageSeries
from model.domain import RejectionReason
from model.errors import RejectedStudy

__all__ = ["ImageLimits", "Refusal", "Selection", "StudyContents", "choose", "select", "study_contents"]

_OTHER_IMAGES = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(?:7(?:\..*)?|104\..*)")
"""Secondary Capture and Encapsulated Documents (PS3.4 B.5): pictures, but no measured ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A series or an outline that was looked at and not taken."""

    subject: str
    """What it is, for the administrator: 'CT series of 89 images'. Neither UID nor text from outside."""
    reason: RejectionReason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The series to measure, the objects that outline its lesions, and what was passed over."""

    series: ImageSeries
    drawn: tuple[Outline, ...]
    """The outlines that say they were drawn on the series, in the order of their SOP Instance UIDs."""
    unread: tuple[Refusal, ...]
    """SEGs and RTSTRUCTs whose header cannot be read: what they outline, and on what, is not known."""
    identity: Identity = field(repr=False)
    notes: tuple[str, ...]
    refused: tuple[Refusal, ...]
    considered: tuple[StoredInstance, ...]
    """All images and outlines among the instances: of these alone the choice, its notes and what is in
    doubt come out the same again."""

    @property
    def outlines(self) -> tuple[StoredInstance, ...]:
        """The objects of `drawn`."""
        return tuple(each.instance for each in self.drawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyContents:
    """All that a study holds which may be measured, or outlines it, before anything is chosen."""

    candidates: tuple[Candidate, ...]
    """The preferred first."""
    outlines: tuple[Outline, ...]
    refused_outlines: tuple[Refusal, ...]


def study_contents(instances: Iterable[StoredInstance], limits: ImageLimits) -> StudyContents:
    """Read the headers of a study and take its series through the gates; repeats count once."""
    unique = {instance.sop_instance_uid: instance for instance in instances}.values()
    outlines, refused = _outlines(unique, limits)
    return StudyContents(
        candidates=tuple(
            sorted(candidates_of(unique, limits), key=lambda each: each.preference(limits.phase))
        ),
        outlines=tuple(outlines),
        refused_outlines=tuple(refused),
    )


def select(instances: Sequence[StoredInstance], limits: ImageLimits) -> Selection:
    """Choose what of a study is measured.

    Parameters
    ----------
    instances
        All instances of one study, in any order; repeats of a SOP Instance UID count once.

    Raises
    ------
    RejectedStudy
        Nothing can be measured: with the reason of the series that would have been chosen.
    """
    return choose(study_contents(instances, limits), instances)


def choose(contents: StudyContents, instances: Iterable[StoredInstance]) -> Selection:
    """Choose what of `contents` of the study with `instances` is measured; raises as `select` does."""
    candidates, outlines, refused_outlines = (
        contents.candidates,
        contents.outlines,
        contents.refused_outlines,
    )
    if not candidates:
        raise _no_image(instances)
    identity = one_identity(
        [
            *(identity for candidate in candidates for identity in candidate.identities),
            *(outline.identity for outline in outlines),
        ]
    )
    drawn = {id(candidate): _drawn_on(candidate, contents) for candidate in candidates}
    outlined = [candidate for candidate in candidates if drawn[id(candidate)]]
    for candidate in outlined:
        if isinstance(candidate.outcome, ImageSeries):
            chosen = drawn[id(candidate)]
            return Selection(
                series=candidate.outcome,
                drawn=tuple(sorted(chosen, key=lambda each: each.instance.sop_instance_uid)),
                unread=tuple(
                    each
                    for each in refused_outlines
                    if each.reason not in (RejectionReason.NO_LESION, RejectionReason.OWN_OUTLINE)
                ),
                identity=identity,
                notes=(*candidate.notes, *_notes_on_choice(candidate, outlined, chosen)),
                refused=(*_refusals(candidates), *refused_outlines),
                considered=tuple(each for each in instances if _is_considered(each)),
            )
    raise _best_reason(candidates, outlined, outlines, refused_outlines)


def _is_considered(instance: StoredInstance) -> bool:
    return (
        instance.sop_class_uid in MODALITY_OF_SOP_CLASS
        or instance.sop_class_uid in segmentation.SEGMENTATION_SOP_CLASSES
        or instance.sop_class_uid == structures.STRUCTURE_SET_SOP_CLASS
    )


def _drawn_on(candidate: Candidate, contents: StudyContents) -> list[Outline]:
    """Return the outlines of `candidate`: of it alone, where its series holds several stacks."""
    return [
        outline
        for outline in contents.outlines
        if candidate.is_outlined_by(outline)
        and (
            candidate.stack_count == 1
            or not any(
                other is not candidate
                and other.series_instance_uid == candidate.series_instance_uid
                and other.is_outlined_by(outline)
                for other in contents.candidates
            )
        )
    ]


def _outlines(
    instances: Iterable[StoredInstance], limits: ImageLimits
) -> tuple[list[Outline], list[Refusal]]:
    """Return the SEGs and RTSTRUCTs that hold a lesion, and why the others do not count."""
    outlines: list[Outline] = []
    refused: list[Refusal] = []
    for instance in instances:
        if instance.sop_class_uid in segmentation.SEGMENTATION_SOP_CLASSES:
            subject, read = "SEG", segmentation.read_outline
        elif instance.sop_class_uid == structures.STRUCTURE_SET_SOP_CLASS:
            subject, read = "RTSTRUCT", structures.read_outline
        else:
            continue
        try:
            outline = read(instance, limits.lesion_rule)
        except RejectedStudy as rejection:
            refused.append(Refusal(subject=subject, reason=rejection.reason, detail=rejection.detail))
            continue
        if outline.lesion_numbers:
            outlines.append(outline)
        else:
            refused.append(
                Refusal(subject=subject, reason=RejectionReason.NO_LESION, detail="nothing in it is a lesion")
            )
    return outlines, refused


def _refusals(candidates: Iterable[Candidate]) -> tuple[Refusal, ...]:
    return tuple(
        Refusal(
            subject=candidate.name,
            reason=candidate.outcome.reason,
            detail=candidate.outcome.detail,
        )
        for candidate in candidates
        if isinstance(candidate.outcome, RejectedStudy)
    )


def _notes_on_choice(
    candidate: Candidate, outlined: Sequence[Candidate], chosen: Sequence[Outline]
) -> list[str]:
    notes = []
    assert isinstance(candidate.outcome, ImageSeries)
    if candidate.outcome.acquisition.lossy_compressed:
        notes.append("the images were compressed with loss, which changes texture")
    if candidate.stack_count > 1:
        notes.append(
            f"the series holds {candidate.stack_count} stacks that differ in"
            f" {' and '.join(candidate.told_apart_by)}; the outlined one was measured"
        )
    if len(outlined) > 1:
        notes.append(f"lesions are outlined on {len(outlined)} series; one was measured")
    if not any(each.series_instance_uids for each in chosen):
        notes.append("the outline names no series and was matched by Frame of Reference")
    return notes


def _best_reason(
    candidates: Sequence[Candidate],
    outlined: Sequence[Candidate],
    outlines: Sequence[Outline],
    refused_outlines: Sequence[Refusal],
) -> RejectedStudy:
    """Return the reason that the administrator can do most about."""
    for candidate in outlined:
        if isinstance(candidate.outcome, RejectedStudy):
            return candidate.outcome
    failures = [each.outcome for each in candidates if isinstance(each.outcome, RejectedStudy)]
    if len(failures) == len(candidates):
        return failures[0]
    if outlines:
        meant = {uid for outline in outlines for uid in outline.series_instance_uids}
        several = [each for each in candidates if each.series_instance_uid in meant and each.stack_count > 1]
        if several:
            return RejectedStudy(
                RejectionReason.SEVERAL_STACKS,
                f"{several[0].stack_count} stacks that differ in {' and '.join(several[0].told_apart_by)}",
            )
        return RejectedStudy(
            RejectionReason.NO_LESION, "the outline refers to a series that is not in the study"
        )
    for refusal in refused_outlines:
        if refusal.reason not in (RejectionReason.NO_LESION, RejectionReason.OWN_OUTLINE):
            return RejectedStudy(refusal.reason, refusal.detail)
    found = Counter(refusal.subject for refusal in refused_outlines)
    return RejectedStudy(
        RejectionReason.NO_LESION,
        ", ".join(f"{count} {subject} without a lesion" for subject, count in sorted(found.items()))
        or "no SEG or RTSTRUCT",
    )


def _no_image(instances: Iterable[StoredInstance]) -> RejectedStudy:
    kinds = {each.sop_instance_uid: each for each in instances}.values()
    captures = any(_OTHER_IMAGES.fullmatch(each.sop_class_uid) for each in kinds)
    reason = RejectionReason.SECONDARY_CAPTURE if captures else RejectionReason.NO_IMAGE
    return RejectedStudy(reason, _what_arrived(kinds))


def _what_arrived(instances: Iterable[StoredInstance]) -> str:
    """Return how many instances there are of each modality, of those with a name that DICOM would allow."""
    found = Counter(
        each.modality if re.fullmatch(r"[A-Z0-9_ ]{1,16}", each.modality) else "other" for each in instances
    )
    return ", ".join(f"{count} {modality}" for modality, count in sorted(found.items())) or "nothing"
