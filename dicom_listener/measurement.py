# SPDX-License-Identifier: Apache-2.0
"""From the stored instances of a study to its measured lesions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dicom_listener import segmentation, structures
from dicom_listener.attributes import read_header, untrusted
from dicom_listener.identity import IDENTITY_KEYWORDS, NOBODY, Identity, identity_of, one_identity
from dicom_listener.instance import StoredInstance
from dicom_listener.outline import is_in_liver
from dicom_listener.selection import ImageLimits, Selection, select
from dicom_listener.series import AcquisitionFacts, ImageSeries
from dicom_listener.volume import read_volume
from model import planar
from model.domain import (
    FeatureVector,
    Geometry,
    ImageReference,
    Lesion,
    MeasuredLesion,
    MeasuredSeries,
    Modality,
    PlanarMeasurement,
    RejectionReason,
    Study,
    Volume,
    derived_uid,
)
from model.errors import ArchiveUnavailable, RejectedStudy
from model.radiomics import ExtractionSettings, extract


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredStudy:
    """All that the images of one study say."""

    study: Study
    series: MeasuredSeries
    geometry: Geometry
    """Grid of the series and of `masks`."""
    lesions: tuple[MeasuredLesion, ...]
    """The index lesion, the largest, first."""
    masks: tuple[NDArray[np.bool_], ...]
    """In the order of `lesions`, shape (z, y, x)."""
    liver_stated: bool
    """Whether the index lesion is stated to lie in the liver: by its finding site where it has one,
    else by the texts of series and study. 'Abdomen' is not 'liver'."""
    acquisition: AcquisitionFacts
    notes: tuple[str, ...]
    """What a reader of the report should know, in words; neither patient data nor text from outside."""


def measure_study(
    instances: Sequence[StoredInstance],
    *,
    limits: ImageLimits,
    settings: Mapping[Modality, ExtractionSettings],
    default_issuer: str,
) -> MeasuredStudy:
    """Select, read and measure one study.

    Parameters
    ----------
    instances
        All instances of the study, in any order.
    settings
        How features are extracted, for each modality.
    default_issuer
        Issuer of Patient ID where the objects name none.

    Raises
    ------
    RejectedStudy
        With the coded reason why there is nothing to measure.
    ArchiveUnavailable
        A stored file cannot be read: another attempt may succeed.
    """
    selection = select(instances, limits)
    lesions, notes = _read_lesions(selection, limits)
    volume = read_volume(selection.series)
    if volume.modality is Modality.CT:
        notes += _implausible_hounsfield(volume, lesions, limits.hounsfield_range)
    measured, small = _measured(
        volume, lesions, selection.series, settings[volume.modality], limits.minimum_lesion_voxels
    )
    index = measured[0]
    return MeasuredStudy(
        study=selection.identity.study(instances[0].study_instance_uid, default_issuer),
        series=_measured_series(selection.series, index[1], selection.outlines),
        geometry=volume.geometry,
        lesions=tuple(lesion for lesion, _ in measured),
        masks=tuple(lesion.mask for _, lesion in measured),
        liver_stated=(
            selection.series.liver_stated
            if index[0].finding_site is None
            else is_in_liver(index[0].finding_site)
        ),
        acquisition=selection.series.acquisition,
        notes=(*selection.notes, *notes, *small),
    )


def read_study(study_instance_uid: str, instances: Sequence[StoredInstance], default_issuer: str) -> Study:
    """Return what the headers say of a study that may have been rejected.

    Files that cannot be read are passed over. Where objects contradict each other, or none
    names a patient, the study is of nobody in particular: its rejection must show up at no
    patient's record.
    """
    try:
        identity = one_identity(_identities(instances))
    except RejectedStudy:
        identity = NOBODY
    return identity.study(study_instance_uid, default_issuer)


def _identities(instances: Iterable[StoredInstance]) -> set[Identity]:
    found = set()
    for instance in instances:
        try:
            with untrusted(RejectionReason.PIXELS, "a header"):
                found.add(
                    identity_of(read_header(instance.path, (*IDENTITY_KEYWORDS, "SpecificCharacterSet")))
                )
        except (RejectedStudy, ArchiveUnavailable):
            continue
    return found


def _read_lesions(selection: Selection, limits: ImageLimits) -> tuple[list[Lesion], list[str]]:
    """Return the lesions of all outlines, largest first, each once, and what is odd about them."""
    lesions: list[Lesion] = []
    notes: list[str] = []
    rejections: list[RejectedStudy] = []
    for instance in selection.outlines:
        reader = structures if instance.sop_class_uid == structures.STRUCTURE_SET_SOP_CLASS else segmentation
        try:
            found = reader.read_lesions(instance, selection.series.geometry, limits.lesion_rule)
        except RejectedStudy as rejection:
            rejections.append(rejection)
            continue
        lesions.extend(found.lesions)
        notes.extend(found.notes)
    if not lesions:
        raise (
            rejections[0]
            if rejections
            else RejectedStudy(RejectionReason.LESION_TOO_SMALL, "no outlined lesion holds a voxel")
        )
    notes.extend(f"an outline was left out: {rejection}" for rejection in rejections)
    # The voxel count decides; of repeats the one that says where it lies; the rest makes a run repeatable.
    lesions.sort(
        key=lambda each: (
            -int(each.mask.sum()),
            each.finding_site is None,
            each.source.sop_instance_uid,
            each.source.number,
        )
    )
    unique, repeats = _without_repeats(lesions)
    if repeats:
        notes.append(f"{repeats} outlines repeat another voxel by voxel and were measured once")
    return unique, notes


def _without_repeats(lesions: Sequence[Lesion]) -> tuple[list[Lesion], int]:
    """Return each lesion once, with a tracking UID of its own, and how many were repeats."""
    unique: dict[bytes, Lesion] = {}
    taken: set[str] = set()
    for lesion in lesions:
        voxels = np.packbits(lesion.mask).tobytes()
        if voxels in unique:
            continue
        if lesion.tracking_uid in taken:
            # Two different outlines of one tracked lesion: the report needs to tell them apart.
            source = lesion.source
            again = derived_uid("lesion", source.sop_instance_uid, str(source.number))
            lesion = replace(lesion, tracking_uid=again)  # noqa: PLW2901
        taken.add(lesion.tracking_uid)
        unique[voxels] = lesion
    return list(unique.values()), len(lesions) - len(unique)


def _implausible_hounsfield(
    volume: Volume, lesions: Sequence[Lesion], allowed: tuple[float, float]
) -> list[str]:
    """Return a note on each lesion whose median is outside `allowed`; reject if the largest is one.

    A wrong Rescale Intercept shifts all of them; a smaller one alone may be full of lipiodol.
    """
    notes = []
    low, high = allowed
    for place, lesion in enumerate(lesions, start=1):
        median = float(np.median(volume.voxels[lesion.mask]))
        if low <= median <= high:
            continue
        if place == 1:
            raise RejectedStudy(
                RejectionReason.HOUNSFIELD,
                f"median of the largest lesion {median:.0f} HU, {low:g} to {high:g} HU is plausible",
            )
        notes.append(f"the median of outline {place}, by size, is {median:.0f} HU")
    return notes


def _measured(
    volume: Volume,
    lesions: Sequence[Lesion],
    series: ImageSeries,
    settings: ExtractionSettings,
    minimum_voxels: int,
) -> tuple[list[tuple[MeasuredLesion, Lesion]], list[str]]:
    """Measure each lesion that is large enough, and number them in their order."""
    measured: list[tuple[MeasuredLesion, Lesion]] = []
    rejections: list[RejectedStudy] = []
    for lesion in lesions:
        try:
            features = extract(volume, lesion.mask, settings, minimum_voxels=minimum_voxels)
        except RejectedStudy as rejection:
            if rejection.reason is not RejectionReason.LESION_TOO_SMALL:
                raise
            rejections.append(rejection)
            continue
        measured.append((_measured_lesion(len(measured) + 1, lesion, features, volume, series), lesion))
    if not measured:
        raise rejections[0]
    notes = [f"{len(rejections)} lesions are too small to be measured"] if rejections else []
    return measured, notes


def _measured_lesion(
    number: int, lesion: Lesion, features: FeatureVector, volume: Volume, series: ImageSeries
) -> MeasuredLesion:
    return MeasuredLesion(
        number=number,
        tracking_uid=lesion.tracking_uid,
        source=lesion.source,
        finding_site=lesion.finding_site,
        volume_mm3=int(lesion.mask.sum()) * volume.geometry.voxel_volume_mm3,
        planar=_planar(lesion.mask, series),
        features=features,
    )


def _planar(mask: NDArray[np.bool_], series: ImageSeries) -> PlanarMeasurement:
    plane = planar.key_slice(mask)
    spacing_mm = series.geometry.spacing_mm[:2]
    long_axis, short_axis = planar.planar_axes(mask[plane], spacing_mm)
    return PlanarMeasurement(
        image=_reference(series.images[plane]),
        long_axis=long_axis,
        short_axis=short_axis,
        area_mm2=planar.area_mm2(mask[plane], spacing_mm),
    )


def _measured_series(
    series: ImageSeries, index: Lesion, outlines: Sequence[StoredInstance]
) -> MeasuredSeries:
    return MeasuredSeries(
        series_instance_uid=series.series_instance_uid,
        frame_of_reference_uid=series.frame_of_reference_uid,
        modality=series.modality,
        images=tuple(_reference(image) for image in series.images),
        spacing_mm=series.geometry.spacing_mm,
        segmentation_series_instance_uid=next(
            outline.series_instance_uid
            for outline in outlines
            if outline.sop_instance_uid == index.source.sop_instance_uid
        ),
    )


def _reference(image: StoredInstance) -> ImageReference:
    return ImageReference(sop_class_uid=image.sop_class_uid, sop_instance_uid=image.sop_instance_uid)
