# SPDX-License-Identifier: Apache-2.0
"""Results as DICOM: structured reports and segmentation, and the gate before they leave."""

from dicom_listener.reports.conformance import check_conformance
from dicom_listener.reports.document import ReportKind, ReportSettings, sop_instance_uid
from dicom_listener.reports.findings import findings_report
from dicom_listener.reports.radiomics import radiomics_report
from dicom_listener.reports.reading import main_lines, report_kind
from dicom_listener.reports.segmentation import lesion_segmentation
from dicom_listener.reports.writing import needs_segmentation, write_reports

__all__ = [
    "ReportKind",
    "ReportSettings",
    "check_conformance",
    "findings_report",
    "lesion_segmentation",
    "main_lines",
    "needs_segmentation",
    "radiomics_report",
    "report_kind",
    "sop_instance_uid",
    "write_reports",
]
