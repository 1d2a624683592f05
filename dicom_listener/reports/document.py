# SPDX-License-Identifier: Apache-2.0
"""What all our objects share: whose they are, their UIDs, dates, equipment and status."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import StrEnum

from highdicom.sr import Comprehensive3DSR, MeasurementReport
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, Comprehensive3DSRStorage, ExplicitVRLittleEndian
from pydicom.valuerep import validate_value

from dicom_listener.attributes import text
from dicom_listener.equipment import MANUFACTURER, MODEL_NAME
from dicom_listener.reports import codes
from model.domain import Assessment, ImageReference, ModelStatus, PatientKey, derived_uid

SEGMENTATION_SOP_CLASS_UIDS = frozenset(
    {UID("1.2.840.10008.5.1.4.1.1.66.4"), UID("1.2.840.10008.5.1.4.1.1.66.7")}
)
"""Segmentation Storage and Label Map Segmentation Storage."""

_CHARACTER_SET = "ISO_IR 192"
"""All our objects are written in UTF-8, whatever the images were in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings:
    """What our objects say of the device that made them; the software version is the assessment's."""

    preliminary: bool = True
    """Preliminary Flag (0040,A496)."""
    device_name: str = "HCC-CDS"
    """Device Observer Name (121013, DCM)."""
    manufacturer: str = MANUFACTURER
    manufacturer_model_name: str = MODEL_NAME
    device_serial_number: str = "unassigned"

    @property
    def device_uid(self) -> str:
        """Device Observer UID (121012, DCM): the same for the same device."""
        return derived_uid("device", self.manufacturer, self.device_name, self.device_serial_number)


class ReportKind(StrEnum):
    """The objects that one assessment becomes; every kind has a series of its own."""

    FINDINGS = "SR-A"
    RADIOMICS = "SR-B"
    SEGMENTATION = "SEG"
    PAGE = "PDF"


_SERIES = {
    ReportKind.FINDINGS: (9101, "HCC-CDS lesion findings"),
    ReportKind.RADIOMICS: (9102, "HCC-CDS radiomics"),
    ReportKind.SEGMENTATION: (9103, "HCC-CDS measured lesions"),
    ReportKind.PAGE: (9104, "HCC-CDS page for the tumour board"),
}
"""Series Number, far above a scanner's, and Series Description."""


def sop_instance_uid(kind: ReportKind, assessment: Assessment) -> str:
    """Return the SOP Instance UID that this object of this assessment always has."""
    return derived_uid(
        kind.value,
        assessment.study.study_instance_uid,
        str(assessment.revision),
        assessment.model.bundle_digest,
    )


def series_instance_uid(kind: ReportKind, assessment: Assessment) -> str:
    """Return the series of this object.

    Revisions by the same model and software share it, for OHIF shows the newest
    SR of a series only; others do not, for a series has one equipment and description.
    """
    return derived_uid(
        f"{kind.value} series",
        assessment.study.study_instance_uid,
        assessment.model.bundle_digest,
        assessment.software_version,
    )


def series_number(kind: ReportKind) -> int:
    """Return the fixed Series Number of `kind`."""
    return _SERIES[kind][0]


def series_description(kind: ReportKind, status: ModelStatus) -> str:
    """Return the Series Description; only a validated model's does not start with RESEARCH."""
    description = _SERIES[kind][1]
    match status:
        case ModelStatus.VALIDATED:
            return description
        case ModelStatus.DEMONSTRATION:
            return f"RESEARCH - DEMONSTRATION - {description}"
        case ModelStatus.RESEARCH | ModelStatus.SUSPENDED:
            return f"RESEARCH - {description}"


def structured_report(
    kind: ReportKind,
    assessment: Assessment,
    sources: Sequence[Dataset],
    content: MeasurementReport,
    *,
    evidence: Sequence[Dataset],
    document: ReportSettings,
    predecessor: Assessment | None,
) -> Dataset:
    """Return `content` as a complete, unverified Comprehensive 3D SR (PS3.3 A.35.13)."""
    report = Comprehensive3DSR(
        evidence=list(evidence),
        content=content,
        series_instance_uid=series_instance_uid(kind, assessment),
        series_number=series_number(kind),
        sop_instance_uid=sop_instance_uid(kind, assessment),
        instance_number=assessment.revision,
        manufacturer=document.manufacturer,
        is_complete=True,
        is_final=not document.preliminary,
        is_verified=False,
        previous_versions=previous_versions(
            kind, assessment, predecessor, sop_class_uid=Comprehensive3DSRStorage
        ),
        series_description=series_description(kind, assessment.model.status),
        manufacturer_model_name=document.manufacturer_model_name,
        device_serial_number=document.device_serial_number,
        software_versions=assessment.software_version,
        coding_schemes=codes.coding_schemes(),
        specific_character_set=_CHARACTER_SET,
    )
    settle(report, assessment, sources[0])
    return report


def previous_versions(
    kind: ReportKind, assessment: Assessment, predecessor: Assessment | None, *, sop_class_uid: UID
) -> list[Dataset] | None:
    """Return the bare header of the object of the predecessor that this one replaces.

    Raises
    ------
    ValueError
        `predecessor` is not the one that `assessment` names.
    """
    if predecessor is None:
        return None
    if (
        predecessor.study.study_instance_uid != assessment.study.study_instance_uid
        or predecessor.revision != assessment.predecessor_revision
    ):
        raise ValueError("the predecessor is not the one that the assessment names")
    return [
        reference(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid(kind, predecessor),
            series_instance_uid=series_instance_uid(kind, predecessor),
            study_instance_uid=predecessor.study.study_instance_uid,
        )
    ]


def reference(
    *, sop_class_uid: str, sop_instance_uid: str, series_instance_uid: str, study_instance_uid: str
) -> Dataset:
    """Return the bare header of an instance, as highdicom wants evidence.

    It holds no patient: highdicom would quote names that it finds odd in warnings,
    and stumble over attributes that are missing. `settle` copies the patient instead.
    """
    header = Dataset()
    header.SOPClassUID = sop_class_uid
    header.SOPInstanceUID = sop_instance_uid
    header.SeriesInstanceUID = series_instance_uid
    header.StudyInstanceUID = study_instance_uid
    for keyword in (
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
        "AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName",
    ):  # fmt: skip
        setattr(header, keyword, "")
    return header


def image_evidence(assessment: Assessment, images: Sequence[ImageReference]) -> list[Dataset]:
    """Return the bare headers of `images` of the measured series, each instance once."""
    return [
        reference(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=instance_uid,
            series_instance_uid=assessment.series.series_instance_uid,
            study_instance_uid=assessment.study.study_instance_uid,
        )
        for instance_uid, sop_class_uid in {
            image.sop_instance_uid: image.sop_class_uid for image in images
        }.items()
    ]


def outline_evidence(assessment: Assessment, segmentation: Dataset | None) -> list[Dataset]:
    """Return the bare headers of the received outlines and of our own SEG, each instance once."""
    received = {lesion.source.sop_instance_uid: lesion.source for lesion in assessment.lesions}
    headers = [
        reference(
            sop_class_uid=source.sop_class_uid,
            sop_instance_uid=source.sop_instance_uid,
            # Outlines from before their series was kept stood in the one series that was named.
            series_instance_uid=source.series_instance_uid
            or assessment.series.segmentation_series_instance_uid,
            study_instance_uid=assessment.study.study_instance_uid,
        )
        for source in received.values()
    ]
    if segmentation is not None and segmentation.SOPInstanceUID not in received:
        headers.append(
            reference(
                sop_class_uid=segmentation.SOPClassUID,
                sop_instance_uid=segmentation.SOPInstanceUID,
                series_instance_uid=segmentation.SeriesInstanceUID,
                study_instance_uid=segmentation.StudyInstanceUID,
            )
        )
    return headers


def settle(report: Dataset, assessment: Assessment, source: Dataset) -> None:
    """Make `report` an object of the patient and study of `source`, the same on every retry.

    Raises
    ------
    ValueError
        `source` is of another study or patient than the assessment.
    """
    identity = _identity(source)
    if identity.StudyInstanceUID != assessment.study.study_instance_uid:
        raise ValueError("the source images are of another study than the assessment")
    if text(identity, "PatientID") not in ("", assessment.study.patient.key.patient_id.strip()):
        raise ValueError("the source images are of another patient than the assessment")
    report.update(identity)
    _complete_patient_id(report, assessment.study.patient.key)
    moment = _moment(assessment, identity)
    report.ContentDate = report.InstanceCreationDate = f"{moment:%Y%m%d}"
    report.ContentTime = report.InstanceCreationTime = f"{moment:%H%M%S.%f}"
    report.SpecificCharacterSet = _CHARACTER_SET
    # highdicom notes itself here, at the time of day.
    if "ContributingEquipmentSequence" in report:
        del report.ContributingEquipmentSequence

    file_meta = FileMetaDataset()
    file_meta.MediaStorageSOPClassUID = report.SOPClassUID
    file_meta.MediaStorageSOPInstanceUID = report.SOPInstanceUID
    file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file_meta.ImplementationClassUID = UID(derived_uid("implementation"))
    file_meta.ImplementationVersionName = f"HCC-CDS {assessment.software_version}"[:16]
    report.file_meta = file_meta


def _complete_patient_id(report: Dataset, key: PatientKey) -> None:
    """Give `report` the patient that the assessment is of, where the images do not name one.

    Another object of the study, as its SEG, may have named the patient.
    """
    if text(report, "PatientID"):
        return
    report.PatientID = key.patient_id
    if key.issuer:
        report.IssuerOfPatientID = key.issuer


_IDENTITY_KEYWORDS = (
    # Patient (PS3.3 C.7.1.1)
    "PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence",
    "OtherPatientIDsSequence", "PatientBirthDate", "PatientSex",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    # General Study (PS3.3 C.7.2.1)
    "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName", "StudyID", "StudyDescription", "TimezoneOffsetFromUTC",
)  # fmt: skip

_TYPE_2_KEYWORDS = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID",
)  # fmt: skip


def _identity(source: Dataset) -> Dataset:
    """Return the patient and study attributes of `source` that our objects carry, as text without bytes."""
    identity = Dataset()
    # pydicom warns of odd values by quoting them, which are patient data.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword in _TYPE_2_KEYWORDS:
            setattr(identity, keyword, None)
        for keyword in _IDENTITY_KEYWORDS:
            if keyword in source:
                element = deepcopy(source[keyword])
                if _is_sound(element):
                    _decode_items(element)
                    identity.add(element)
    return identity


def _is_sound(element: DataElement) -> bool:
    """Whether the value may stand in an object of ours; an unsound one is left empty.

    The Patient ID is kept as it is: without it the report would be nobody's, and the
    gate stops an object that is not conformant.
    """
    if element.keyword == "PatientID" or element.VR == "SQ":
        return True
    if element.VM == 0:
        return element.keyword in _TYPE_2_KEYWORDS
    if element.keyword == "PatientSex" and element.value not in ("M", "F", "O"):
        return False
    values = [element.value] if element.VM == 1 else list(element.value)
    try:
        for value in values:
            validate_value(element.VR, str(value), config.RAISE)
    except ValueError:
        return False
    return True


def _decode_items(element: DataElement) -> None:
    """Decode what stands in a sequence: pydicom would write bytes it has not touched as they were read."""
    if element.VR == "SQ":
        for item in element.value:
            for nested in item:
                _decode_items(nested)
            if "SpecificCharacterSet" in item:
                del item.SpecificCharacterSet


def _moment(assessment: Assessment, identity: Dataset) -> datetime:
    """Return when the assessment was made, in the time zone that the study states, if it does."""
    offset = text(identity, "TimezoneOffsetFromUTC")
    if len(offset) == 5 and offset[0] in "+-" and offset[1:].isdigit():
        minutes = int(offset[1:3]) * 60 + int(offset[3:])
        zone = timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
        return assessment.created_at.astimezone(zone).replace(tzinfo=None)
    return assessment.created_at.replace(tzinfo=None)
