# SPDX-License-Identifier: Apache-2.0
"""Encapsulated PDF: the tumour board's one page as an object of the study, for every viewer."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as dicom
from pydicom.uid import EncapsulatedPDFStorage

from dicom_listener.reports.document import (
    ReportKind,
    ReportSettings,
    image_evidence,
    outline_evidence,
    previous_versions,
    series_description,
    series_instance_uid,
    series_number,
    settle,
    sop_instance_uid,
)
from dicom_listener.reports.page import TITLE, tumour_board_page
from dicom_listener.reports.picture import KeySlice
from model.domain import Assessment


def encapsulated_page(
    assessment: Assessment,
    sources: Sequence[Dataset],
    segmentation: Dataset | None = None,
    *,
    picture: KeySlice,
    document: ReportSettings,
    predecessor: Assessment | None = None,
) -> Dataset:
    """Return the page as Encapsulated PDF (PS3.3 A.45.1); what it is given is as for `findings_report`.

    Parameters
    ----------
    picture
        The key slice of the index lesion.
    predecessor
        None also where the earlier assessment had no page.
    """
    page = Dataset()
    page.SOPClassUID = EncapsulatedPDFStorage
    page.SOPInstanceUID = sop_instance_uid(ReportKind.PAGE, assessment)
    page.Modality = "DOC"
    page.SeriesInstanceUID = series_instance_uid(ReportKind.PAGE, assessment)
    page.SeriesNumber = series_number(ReportKind.PAGE)
    page.SeriesDescription = series_description(ReportKind.PAGE, assessment.model.status)
    page.Manufacturer = document.manufacturer
    page.ManufacturerModelName = document.manufacturer_model_name
    page.DeviceSerialNumber = document.device_serial_number
    page.SoftwareVersions = assessment.software_version
    page.ConversionType = "WSD"
    page.InstanceNumber = assessment.revision
    # Made of many images, which need not have been acquired at one moment (type 2).
    page.AcquisitionDateTime = None
    # It shows the patient's name.
    page.BurnedInAnnotation = "YES"
    page.SourceInstanceSequence = _sources(assessment, segmentation)
    page.DocumentTitle = TITLE
    page.ConceptNameCodeSequence = [_coded_title()]
    page.VerificationFlag = "UNVERIFIED"
    earlier = previous_versions(
        ReportKind.PAGE, assessment, predecessor, sop_class_uid=EncapsulatedPDFStorage
    )
    if earlier is not None:
        page.PredecessorDocumentsSequence = [_in_hierarchy(each) for each in earlier]
    settle(page, assessment, sources[0])
    page.MIMETypeOfEncapsulatedDocument = "application/pdf"
    content = tumour_board_page(assessment, page, picture, document=document)
    page.EncapsulatedDocumentLength = len(content)
    # Values have an even length (PS3.5 8.2), which pydicom would only warn of.
    page.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    return page


def _sources(assessment: Assessment, segmentation: Dataset | None) -> list[Dataset]:
    """Return what the page was made from: the key slices and the outlines, as SR-A names them."""
    images = tuple(dict.fromkeys(lesion.planar.image for lesion in assessment.lesions))
    return [
        _instance(each)
        for each in image_evidence(assessment, images) + outline_evidence(assessment, segmentation)
    ]


def _instance(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return item


def _in_hierarchy(header: Dataset) -> Dataset:
    """Return a reference with study and series (PS3.3 C.17.2.1)."""
    series = Dataset()
    series.ReferencedSOPSequence = [_instance(header)]
    series.SeriesInstanceUID = header.SeriesInstanceUID
    study = Dataset()
    study.ReferencedSeriesSequence = [series]
    study.StudyInstanceUID = header.StudyInstanceUID
    return study


def _coded_title() -> Dataset:
    """Return the title that SR-A has too: it is the same report in another form."""
    title = dicom.DCM.ImagingMeasurementReport
    item = Dataset()
    item.CodeValue = title.value
    item.CodingSchemeDesignator = title.scheme_designator
    item.CodeMeaning = title.meaning
    return item
