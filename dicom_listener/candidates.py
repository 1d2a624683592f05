# SPDX-License-Identifier: Apache-2.0
"""Image series of a study, parted into stacks, each with how far it got through the gates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dicom_listener.gates import ImageLimits, gated, too_few
from dicom_listener.identity import Identity
from dicom_listener.instance import StoredInstance
from dicom_listener.outline import Outline
from dicom_listener.series import MODALITY_OF_SOP_CLASS, ImageHeader, ImageSeries, Plane, read_image_headers
from dicom_listener.stacks import Marked, split
from model.acquisition import ContrastPhase
from model.domain import Modality
from model.errors import RejectedStudy


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A stack of images, which most series are one of: how far it got through the gates."""

    series_instance_uid: str
    modality: Modality
    planes: tuple[Plane, ...]
    stack_count: int
    """Of its series."""
    told_apart_by: tuple[str, ...]
    """What the stacks of its series differ in, in words."""
    frame_of_reference_uids: frozenset[str]
    identities: tuple[Identity, ...] = field(repr=False)
    outcome: ImageSeries | RejectedStudy
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is, for the administrator."""
        stack = f", one of {self.stack_count} stacks in its series" if self.stack_count > 1 else ""
        return f"{self.modality} series of {len(self.planes)} images{stack}"

    def preference(self, phase: ContrastPhase | None) -> tuple[object, ...]:
        """The lower, the sooner it is taken by a model that was made for `phase`."""
        stated = self.outcome.acquisition.phase_hint if isinstance(self.outcome, ImageSeries) else ""
        first = self.planes[0]
        return (
            0 if phase is None or stated == phase else 1 if not stated else 2,
            self.modality is not Modality.CT,
            -len(self.planes),
            self.series_instance_uid,
            first.instance.sop_instance_uid,
            first.frame_number or 0,
        )

    def is_outlined_by(self, outline: Outline) -> bool:
        """Whether `outline` says that it was drawn on this stack.

        Where it names no series at all, the Frame of Reference says it. Where it names one,
        that one is meant and no other: the same frame holds the other contrast phases too.
        Of several stacks in the series that is meant, the images that the outline names say it.
        """
        if not outline.series_instance_uids:
            return bool(self.frame_of_reference_uids & outline.frame_of_reference_uids)
        if self.series_instance_uid not in outline.series_instance_uids:
            return False
        return self.stack_count == 1 or any(
            (each.instance.sop_instance_uid, number) in outline.images
            for each in self.planes
            for number in (each.frame_number, None)
        )


def candidates_of(instances: Iterable[StoredInstance], limits: ImageLimits) -> list[Candidate]:
    """Return the stacks of every series of CT and MR images among `instances`."""
    series: dict[tuple[str, Modality], list[StoredInstance]] = defaultdict(list)
    for instance in instances:
        modality = MODALITY_OF_SOP_CLASS.get(instance.sop_class_uid)
        if modality is not None:
            series[instance.series_instance_uid, modality].append(instance)
    return [
        candidate
        for (uid, modality), images in series.items()
        for candidate in _stacks(
            uid, modality, sorted(images, key=lambda each: each.sop_instance_uid), limits
        )
    ]


def _stacks(
    series_instance_uid: str, modality: Modality, instances: Sequence[StoredInstance], limits: ImageLimits
) -> list[Candidate]:
    """Read the headers of one series and take each of its stacks through the gates."""
    headers: list[ImageHeader] = []
    unreadable: RejectedStudy | None = None
    try:
        # One by one: the headers before an unreadable one still tell frame and patient.
        for instance in instances:
            headers.extend(read_image_headers(instance))
    except RejectedStudy as rejection:
        unreadable = rejection

    def candidate(
        of: Sequence[ImageHeader],
        outcome: ImageSeries | RejectedStudy,
        notes: Sequence[str] = (),
        told_apart_by: tuple[str, ...] = (),
        count: int = 1,
    ) -> Candidate:
        return Candidate(
            series_instance_uid=series_instance_uid,
            modality=modality,
            planes=tuple(each.plane for each in of)
            if unreadable is None
            else tuple(Plane(instance=each, frame_number=None) for each in instances),
            stack_count=count,
            told_apart_by=told_apart_by,
            frame_of_reference_uids=frozenset(header.frame_of_reference_uid for header in of) - {""},
            identities=tuple({header.identity for header in of}),
            outcome=outcome,
            notes=tuple(notes),
        )

    if unreadable is not None:
        return [candidate(headers, unreadable)]
    slices = [header for header in headers if "LOCALIZER" not in header.image_type]
    if not slices:
        return [candidate(headers, too_few(0, limits))]
    parts = split(
        [Marked(marks=each.marks, position_mm=each.position_mm, modality=modality) for each in slices],
        limits.minimum_slices,
    )
    candidates = []
    for places in parts.stacks:
        of = [slices[place] for place in places]
        notes: list[str] = []
        if len(slices) < len(headers):
            notes.append(f"{len(headers) - len(slices)} localizer images of the series were left out")
        try:
            outcome: ImageSeries | RejectedStudy = gated(of, modality, limits, notes)
        except RejectedStudy as rejection:
            outcome = rejection
        candidates.append(candidate(of, outcome, notes, parts.told_apart_by, len(parts.stacks)))
    return candidates
