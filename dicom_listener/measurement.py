# SPDX-License-Identifier: Apache-2.0
"""From the stored instances of a study to its measured lesions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dicom_listener.appearance import METAL_MM, lesion_cautions
from dicom_listener.attributes import read_header, untrusted
from dicom_listener.identity import IDENTITY_KEYWORDS, NOBODY, Identity, identity_of, one_identity
from dicom_listener.instance import StoredInstance
from dicom_listener.lesions import read_lesions
from dicom_listener.liver import read_liver
from dicom_listener.selection import ImageLimits, select
from dicom_listener.series import ImageSeries, Plane
from dicom_listener.volume import read_volume
from model import planar
from model.acquisition import AcquisitionFacts
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
)
from model.errors import ArchiveUnavailable, RejectedStudy
from model.radiomics import ExtractionSettings, extract, part_needed


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
    """Whether the index lesion is stated to lie in the liver: by its outline where that says anything of
    the place, else by the texts of series and study. 'Abdomen' is not 'liver'."""
    acquisition: AcquisitionFacts
    left_out: int
    """How many outlined lesions were not measured: too small, holding no voxel, on another grid or
    Frame of Reference. An outline file that cannot be read counts as one."""
    index_in_doubt: bool
    """Whether an outline that was left out may be of a lesion larger than the index lesion, or the index
    lesion has two outlines whose dates do not tell which replaces which."""
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
    found = read_lesions(selection, limits.lesion_rule)
    lesions = tuple(each.lesion for each in found.lesions)
    notes = [*found.notes]
    of_modality = settings[selection.series.modality]
    volume = read_volume(
        selection.series,
        part_needed(
            [each.mask for each in lesions],
            selection.series.geometry.spacing_mm,
            of_modality,
            margin_mm=METAL_MM,
        ),
    )
    if volume.modality is Modality.CT:
        notes += _implausible_hounsfield(volume, lesions, limits.hounsfield_range)
    liver = None
    if of_modality.ring_mm is not None:
        liver = read_liver(selection, limits.lesion_rule)
        if liver is None:
            notes.append("the liver is not outlined, so that the ring around lesions was not measured")
    measured, small = _measured(
        volume,
        lesions,
        selection.series,
        of_modality,
        minimum_voxels=limits.minimum_lesion_voxels,
        liver=liver,
    )
    index = measured[0]
    outlined = next(each for each in found.lesions if each.lesion is index[1])
    cautions = lesion_cautions(volume, index[1], selection.series)
    return MeasuredStudy(
        study=selection.identity.study(instances[0].study_instance_uid, default_issuer),
        series=_measured_series(selection.series, index[1], selection.outlines),
        geometry=volume.geometry,
        lesions=tuple(lesion for lesion, _ in measured),
        masks=tuple(lesion.mask for _, lesion in measured),
        liver_stated=(selection.series.liver_stated if outlined.in_liver is None else outlined.in_liver),
        acquisition=replace(
            selection.series.acquisition,
            cautions=tuple(dict.fromkeys((*selection.series.acquisition.cautions, *cautions))),
        ),
        left_out=found.left_out + len(lesions) - len(measured),
        index_in_doubt=found.largest_in_doubt or outlined.is_in_doubt,
        notes=(
            *selection.notes,
            *notes,
            *small,
            *(f"{each.value}: {each.explanation}" for each in cautions),
        ),
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


def _implausible_hounsfield(
    volume: Volume, lesions: Sequence[Lesion], allowed: tuple[float, float]
) -> list[str]:
    """Return a note on each lesion whose median is outside `allowed`; reject if the largest is one.

    A wrong Rescale Intercept shifts all of them; a smaller one alone may be full of lipiodol.
    """
    notes = []
    low, high = allowed
    for place, lesion in enumerate(lesions, start=1):
        median = float(np.median(volume.inside(lesion.mask)))
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
    *,
    minimum_voxels: int,
    liver: NDArray[np.bool_] | None,
) -> tuple[list[tuple[MeasuredLesion, Lesion]], list[str]]:
    """Measure each lesion that is large enough, and number them in their order."""
    measured: list[tuple[MeasuredLesion, Lesion]] = []
    rejections: list[RejectedStudy] = []
    for lesion in lesions:
        try:
            features = extract(
                volume,
                lesion.mask,
                settings,
                minimum_voxels=minimum_voxels,
                liver=liver,
                other_lesions=None if liver is None else _others(lesion, lesions),
            )
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


def _others(lesion: Lesion, lesions: Sequence[Lesion]) -> NDArray[np.bool_]:
    """Return where the other lesions lie, all together."""
    # Not `zeros_like`, which writes to every page: what nobody writes to takes no memory.
    together = np.zeros(lesion.mask.shape, dtype=np.bool_)
    for each in lesions:
        if each is not lesion:
            together |= each.mask
    return together


def _measured_lesion(
    number: int, lesion: Lesion, features: FeatureVector, volume: Volume, series: ImageSeries
) -> MeasuredLesion:
    return MeasuredLesion(
        number=number,
        tracking_uid=lesion.tracking_uid,
        source=lesion.source,
        finding_site=lesion.finding_site,
        volume_mm3=int(np.count_nonzero(lesion.mask)) * volume.geometry.voxel_volume_mm3,
        planar=_planar(lesion.mask, series),
        features=features,
    )


def _planar(mask: NDArray[np.bool_], series: ImageSeries) -> PlanarMeasurement:
    plane = planar.key_slice(mask)
    spacing_mm = series.geometry.spacing_mm[:2]
    long_axis, short_axis = planar.planar_axes(mask[plane], spacing_mm)
    return PlanarMeasurement(
        image=_reference(series.planes[plane]),
        long_axis=long_axis,
        short_axis=short_axis,
        area_mm2=planar.area_mm2(mask[plane], spacing_mm),
        outline=planar.outline_polygon(mask[plane]),
    )


def _measured_series(
    series: ImageSeries, index: Lesion, outlines: Sequence[StoredInstance]
) -> MeasuredSeries:
    return MeasuredSeries(
        series_instance_uid=series.series_instance_uid,
        frame_of_reference_uid=series.frame_of_reference_uid,
        modality=series.modality,
        images=tuple(_reference(plane) for plane in series.planes),
        spacing_mm=series.geometry.spacing_mm,
        segmentation_series_instance_uid=next(
            outline.series_instance_uid
            for outline in outlines
            if outline.sop_instance_uid == index.source.sop_instance_uid
        ),
    )


def _reference(plane: Plane) -> ImageReference:
    return ImageReference(
        sop_class_uid=plane.instance.sop_class_uid,
        sop_instance_uid=plane.instance.sop_instance_uid,
        frame_number=plane.frame_number,
    )
