# SPDX-License-Identifier: Apache-2.0
"""Which series of a study is measured, and why the others are not.

The rule: a series can be measured when it passes every gate. Of those, one whose lesions
are outlined is taken; of several, CT before MR, then the one with most slices, then the
lowest Series Instance UID. The same study gives the same choice whatever the order in
which its instances came.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
)

from dicom_listener import segmentation, structures
from dicom_listener.attributes import require_readable_syntax
from dicom_listener.grid import regular_grid
from dicom_listener.identity import Identity, one_identity
from dicom_listener.instance import StoredInstance
from dicom_listener.outline import LesionRule, Outline
from dicom_listener.series import (
    MODALITY_OF_SOP_CLASS,
    ImageHeader,
    ImageSeries,
    read_image_header,
    read_image_series,
)
from model.domain import Modality, RejectionReason
from model.errors import RejectedStudy

_MULTI_FRAME_SOP_CLASSES = {
    str(EnhancedCTImageStorage): Modality.CT,
    str(LegacyConvertedEnhancedCTImageStorage): Modality.CT,
    str(EnhancedMRImageStorage): Modality.MR,
    str(LegacyConvertedEnhancedMRImageStorage): Modality.MR,
}

_DERIVED = re.compile(
    r"\b(MPR|MIP|MINIP|MNIP|AVERAGE|PROJECTION|CSA 3D|SUB|SUBTRACTION|ADC|REFORMATTED|VRT|SSD|CURVED"
    r"|SECONDARY)\b"
)
"""Of what is DERIVED, that which is no longer the texture that was acquired. SECONDARY is Value 2 of
Image Type for pictures made of pictures; DERIVED\\PRIMARY, as filtered originals are, may pass."""

_AXIAL_NORMAL = 0.996
"""Cosine of 5 degrees, by which the normal may lean from the patient's long axis."""
_TILT_DEGREES = 0.5
_LARGEST_MATRIX = 4096
_ROUNDING = 1.001
"""A spacing that is 5 mm but for the rounding of positions is 5 mm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """Quality gates; fields and units as in the `image` section of the settings."""

    lesion_codes: tuple[str, ...]
    lesion_names: tuple[str, ...]
    maximum_slice_spacing_mm: float
    minimum_slices: int
    minimum_lesion_voxels: int
    hounsfield_range: tuple[float, float]

    @property
    def lesion_rule(self) -> LesionRule:
        """Which outlined things are lesions."""
        return LesionRule(codes=self.lesion_codes, names=self.lesion_names)


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
    outlines: tuple[StoredInstance, ...]
    identity: Identity = field(repr=False)
    notes: tuple[str, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """An image series: how far it got through the gates."""

    series_instance_uid: str
    modality: Modality
    instances: tuple[StoredInstance, ...]
    frame_of_reference_uids: frozenset[str]
    identities: tuple[Identity, ...] = field(repr=False)
    outcome: ImageSeries | RejectedStudy
    notes: tuple[str, ...]

    @property
    def preference(self) -> tuple[bool, int, str]:
        return (self.modality is not Modality.CT, -len(self.instances), self.series_instance_uid)

    def is_outlined_by(self, outline: Outline) -> bool:
        """Whether `outline` says that it was drawn on this series.

        Where it names no series at all, the Frame of Reference says it. Where it names one,
        that one is meant and no other: the same frame holds the other contrast phases too.
        """
        if outline.series_instance_uids:
            return self.series_instance_uid in outline.series_instance_uids
        return bool(self.frame_of_reference_uids & outline.frame_of_reference_uids)


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
    unique = {instance.sop_instance_uid: instance for instance in instances}.values()
    candidates = sorted(_candidates(unique, limits), key=lambda each: each.preference)
    outlines, refused_outlines = _outlines(unique, limits.lesion_rule)
    if not candidates:
        raise RejectedStudy(RejectionReason.NO_IMAGE, _what_arrived(unique))
    identity = one_identity(
        [
            *(identity for candidate in candidates for identity in candidate.identities),
            *(outline.identity for outline in outlines),
        ]
    )
    drawn = {
        candidate.series_instance_uid: [each for each in outlines if candidate.is_outlined_by(each)]
        for candidate in candidates
    }
    outlined = [candidate for candidate in candidates if drawn[candidate.series_instance_uid]]
    for candidate in outlined:
        if isinstance(candidate.outcome, ImageSeries):
            chosen = drawn[candidate.series_instance_uid]
            return Selection(
                series=candidate.outcome,
                outlines=tuple(
                    each.instance for each in sorted(chosen, key=lambda each: each.instance.sop_instance_uid)
                ),
                identity=identity,
                notes=(*candidate.notes, *_notes_on_choice(candidate.outcome, outlined, chosen)),
                refused=(*_refusals(candidates), *refused_outlines),
            )
    raise _best_reason(candidates, outlined, outlines, refused_outlines)


def _candidates(instances: Iterable[StoredInstance], limits: ImageLimits) -> list[_Candidate]:
    series: dict[tuple[str, Modality], list[StoredInstance]] = defaultdict(list)
    for instance in instances:
        modality = MODALITY_OF_SOP_CLASS.get(instance.sop_class_uid) or _MULTI_FRAME_SOP_CLASSES.get(
            instance.sop_class_uid
        )
        if modality is not None:
            series[instance.series_instance_uid, modality].append(instance)
    return [_candidate(uid, modality, tuple(images), limits) for (uid, modality), images in series.items()]


def _candidate(
    series_instance_uid: str, modality: Modality, instances: tuple[StoredInstance, ...], limits: ImageLimits
) -> _Candidate:
    """Read the headers of one series and take it through the gates."""
    headers: list[ImageHeader] = []
    notes: list[str] = []
    outcome: ImageSeries | RejectedStudy
    try:
        # One by one: the headers before an unreadable one still tell frame and patient.
        for instance in instances:
            headers.append(read_image_header(instance))  # noqa: PERF401
        outcome = _gated(headers, modality, limits, notes)
    except RejectedStudy as rejection:
        outcome = rejection
    return _Candidate(
        series_instance_uid=series_instance_uid,
        modality=modality,
        instances=instances,
        frame_of_reference_uids=frozenset(header.frame_of_reference_uid for header in headers) - {""},
        identities=tuple({header.identity for header in headers}),
        outcome=outcome,
        notes=tuple(notes),
    )


def _gated(
    headers: Sequence[ImageHeader], modality: Modality, limits: ImageLimits, notes: list[str]
) -> ImageSeries:
    """Return the series of `headers`, or raise RejectedStudy at the first gate that it does not pass."""
    if any(header.instance.sop_class_uid in _MULTI_FRAME_SOP_CLASSES for header in headers):
        raise RejectedStudy(RejectionReason.NO_IMAGE, "multi-frame images are not read")
    slices = [header for header in headers if "LOCALIZER" not in header.image_type]
    if len(slices) < limits.minimum_slices:
        raise RejectedStudy(
            RejectionReason.LOCALIZER,
            f"{len(slices)} slices besides localizers, {limits.minimum_slices} are needed",
        )
    if len(slices) < len(headers):
        notes.append(f"{len(headers) - len(slices)} localizer images of the series were left out")
    for header in slices:
        require_readable_syntax(header.instance.transfer_syntax_uid, f"a {modality} image")
    _require_original(slices)
    frames = {header.frame_of_reference_uid for header in slices}
    if "" in frames:
        raise RejectedStudy(RejectionReason.NO_FRAME_OF_REFERENCE)
    if len(frames) > 1:
        raise RejectedStudy(RejectionReason.MIXED_GEOMETRY, "Frame of Reference UID differs")
    _require_pixels_on_disk(slices)
    tilt = max(abs(header.gantry_tilt_degrees) for header in slices)
    if tilt > _TILT_DEGREES:
        raise RejectedStudy(RejectionReason.TILT, f"Gantry/Detector Tilt of {tilt:.1f} degrees")
    ordered, geometry = regular_grid(slices)
    if abs(geometry.direction[8]) < _AXIAL_NORMAL:
        raise RejectedStudy(RejectionReason.ORIENTATION, "the slice normal leans by more than 5 degrees")
    thickness = max(geometry.spacing_mm[2], *(header.slice_thickness_mm or 0.0 for header in slices))
    if thickness > limits.maximum_slice_spacing_mm * _ROUNDING:
        raise RejectedStudy(
            RejectionReason.THICKNESS,
            f"{thickness:.2f} mm, at most {limits.maximum_slice_spacing_mm:g} mm is allowed",
        )
    return read_image_series(
        tuple(header.instance for header in ordered),
        modality=modality,
        geometry=geometry,
        frame_of_reference_uid=frames.pop(),
    )


def _require_original(slices: Sequence[ImageHeader]) -> None:
    for header in slices:
        if header.image_type[:1] != ("DERIVED",):
            continue
        found = _DERIVED.search(" ".join((*header.image_type, header.description)))
        if found:
            raise RejectedStudy(RejectionReason.DERIVED, f"derived images: {found.group()}")


def _require_pixels_on_disk(slices: Sequence[ImageHeader]) -> None:
    """Raise where the header promises more pixels than the file can hold, before memory is taken for them."""
    for header in slices:
        if not 0 < max(header.rows, header.columns) <= _LARGEST_MATRIX or not min(
            header.rows, header.columns
        ):
            raise RejectedStudy(RejectionReason.PIXELS, "Rows or Columns out of range")
        is_deflated = header.instance.transfer_syntax_uid == DeflatedExplicitVRLittleEndian
        if not is_deflated and header.file_bytes * 8 < header.rows * header.columns * header.bits_allocated:
            raise RejectedStudy(RejectionReason.PIXELS, "the file is shorter than its pixel data")


def _outlines(instances: Iterable[StoredInstance], rule: LesionRule) -> tuple[list[Outline], list[Refusal]]:
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
            outline = read(instance, rule)
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


def _refusals(candidates: Iterable[_Candidate]) -> tuple[Refusal, ...]:
    return tuple(
        Refusal(
            subject=f"{candidate.modality} series of {len(candidate.instances)} images",
            reason=candidate.outcome.reason,
            detail=candidate.outcome.detail,
        )
        for candidate in candidates
        if isinstance(candidate.outcome, RejectedStudy)
    )


def _notes_on_choice(
    series: ImageSeries, outlined: Sequence[_Candidate], chosen: Sequence[Outline]
) -> list[str]:
    notes = []
    if series.acquisition.lossy_compressed:
        notes.append("the images were compressed with loss, which changes texture")
    if len(outlined) > 1:
        notes.append(f"lesions are outlined on {len(outlined)} series; one was measured")
    if not any(each.series_instance_uids for each in chosen):
        notes.append("the outline names no series and was matched by Frame of Reference")
    return notes


def _best_reason(
    candidates: Sequence[_Candidate],
    outlined: Sequence[_Candidate],
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
        return RejectedStudy(
            RejectionReason.NO_LESION, "the outline refers to a series that is not in the study"
        )
    for refusal in refused_outlines:
        if refusal.reason is not RejectionReason.NO_LESION:
            return RejectedStudy(refusal.reason, refusal.detail)
    found = Counter(refusal.subject for refusal in refused_outlines)
    return RejectedStudy(
        RejectionReason.NO_LESION,
        ", ".join(f"{count} {subject} without a lesion" for subject, count in sorted(found.items()))
        or "no SEG or RTSTRUCT",
    )


def _what_arrived(instances: Iterable[StoredInstance]) -> str:
    """Return how many instances there are of each modality, of those with a name that DICOM would allow."""
    found = Counter(
        each.modality if re.fullmatch(r"[A-Z0-9_ ]{1,16}", each.modality) else "other" for each in instances
    )
    return ", ".join(f"{count} {modality}" for modality, count in sorted(found.items())) or "nothing"
