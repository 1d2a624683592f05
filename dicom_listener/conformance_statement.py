# SPDX-License-Identifier: Apache-2.0
"""The DICOM Conformance Statement (PS3.2 Annex A), from what the application entity really negotiates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydicom.uid import UID, Comprehensive3DSRStorage, EncapsulatedPDFStorage, SegmentationStorage
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

from dicom_listener.access import Rejection
from dicom_listener.commitment import PUSH_MODEL
from dicom_listener.dimse_pacs import FIND, GET, MOVE
from dicom_listener.scp import VERIFICATION
from dicom_listener.status import StorageStatus
from dicom_listener.syntaxes import (
    IMAGE_SOP_CLASSES,
    KNOWN_SOP_CLASSES,
    LABEL_MAP_SEGMENTATION_STORAGE,
    LOSSLESS_SYNTAXES,
    LOSSY_SYNTAXES,
    OUTLINE_SOP_CLASSES,
    REPORT_SOP_CLASSES,
    TRANSFER_SYNTAXES,
    UNCOMPRESSED_SYNTAXES,
    other_sop_classes,
)
from dicom_listener.tls import CIPHERS


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementSettings:
    """What the statement takes from the settings of an installation."""

    software_version: str
    ae_title: str
    port: int
    maximum_associations: int
    maximum_pdu_size_bytes: int
    maximum_object_mb: int
    minimum_free_disk_mb: int
    network_timeout_s: float
    keeps_other_sop_classes: bool
    keeps_versions: bool
    speaks_tls: bool
    quiet_s: float
    retrieve: str
    """`c-move`, `c-get`, `wado-rs` or '' where no PACS is asked."""
    writes_page: bool
    attempts: int
    commitment_attempts: int


def conformance_statement(settings: StatementSettings) -> str:
    """Return the statement as Markdown, for one installation."""
    parts = (
        _overview(settings),
        _implementation_model(),
        _acceptor(settings),
        _requestor(settings),
        _network(settings),
        _security(settings),
        _annexes(),
    )
    return "\n\n".join("\n\n".join(part) for part in parts) + "\n"


def _overview(settings: StatementSettings) -> Iterator[str]:
    yield "# DICOM Conformance Statement"
    yield (
        f"HCC-CDS {settings.software_version}, in the form of PS3.2 Annex A. `hcc-cds conformance` prints the "
        "statement of an installation, with its settings; this one has every default. A test opens "
        "associations with the running listener and compares what it accepts with the tables."
    )
    yield "## 1 Overview"
    yield (
        "HCC-CDS receives CT and MR studies of the liver with their outlines, fetches what is missing of them, "
        "measures the outlined lesions, and sends structured reports back. It is for research and evaluation, "
        "not for clinical use."
    )
    yield _table(
        ("service", "user (SCU)", "provider (SCP)"),
        (
            ("Verification", "no", "yes"),
            ("Storage", "yes", "yes"),
            ("Storage Commitment Push Model", "yes", "yes"),
            ("Query/Retrieve, Study Root: FIND, MOVE, GET", "yes", "no"),
            ("DICOMweb: STOW-RS", "yes", "yes"),
            ("DICOMweb: QIDO-RS, WADO-RS", "yes", "no"),
        ),
    )
    yield "Media interchange: none."


def _implementation_model() -> Iterator[str]:
    yield "## 2 Implementation model"
    yield (
        "One application entity. Its acceptor writes every object to disk, durably, before it answers Success. "
        "A study that has been quiet is compared with the PACS, completed, measured and reported; reports go "
        "out by associations of their own, are retried, and are committed to by the archive where that is asked."
    )
    yield "There are no real-world activities that must follow each other at the peer."


def _acceptor(settings: StatementSettings) -> Iterator[str]:
    yield "## 3 The application entity as acceptor"
    yield "### 3.1 Association policies"
    yield _table(
        ("policy", "value"),
        (
            ("Application Context Name", "1.2.840.10008.3.1.1.1"),
            ("Associations at once, in each listening process", str(settings.maximum_associations)),
            ("Maximum PDU size received", f"{settings.maximum_pdu_size_bytes} bytes"),
            ("Asynchronous operations", "not negotiated: one at a time"),
            ("Extended negotiation, user identity", "not supported; proposals are ignored"),
            ("Implementation Class UID", str(PYNETDICOM_IMPLEMENTATION_UID)),
            ("Implementation Version Name", PYNETDICOM_IMPLEMENTATION_VERSION),
            ("Idle time before an association is aborted", f"{settings.network_timeout_s:g} s"),
        ),
    )
    yield "An association is rejected (PS3.8 9.3.4) for these reasons:"
    yield _table(
        ("result", "source", "reason", "when"),
        ((str(each.result), str(each.source), str(each.reason), each.explanation) for each in Rejection),
    )
    yield "### 3.2 Presentation contexts"
    yield (
        "Every storage SOP class below is accepted with every transfer syntax of 3.3, and of those that a "
        "presentation context proposes the first in that table. Verification and Storage Commitment are "
        "accepted with Implicit, Explicit and Deflated Explicit VR Little Endian and Explicit VR Big Endian."
    )
    yield _table(("SOP class", "UID", "what becomes of it"), _accepted(settings))
    yield "### 3.3 Transfer syntaxes"
    yield _table(("transfer syntax", "UID", "pixels"), _syntaxes())
    yield "### 3.4 Answers to C-STORE"
    yield _table(
        ("status", "meaning"),
        ((f"0x{each:04X}", each.comment or "On disk, durable, and recorded") for each in StorageStatus),
    )
    yield (
        f"Out of resources means less than {settings.minimum_free_disk_mb} MB of free disk, or an archive or "
        f"database that is away; the sender should send again. Objects above {settings.maximum_object_mb} MB "
        "are refused. An object that comes again with the same bytes is acknowledged and changes nothing; with "
        "other bytes it is "
        + ("kept as a new version." if settings.keeps_versions else "refused with 0xC002.")
        + " Where an object that is refused for this names another patient than the one that is kept, no result "
        "of the study is shown of anybody any more."
    )
    yield "### 3.5 Storage commitment as provider"
    yield (
        "N-ACTION is answered when the request is on disk; N-EVENT-REPORT follows when each file was read "
        "again and its data set has the digest with which it arrived: on an association of ours to a peer "
        "whose address is known, with the SCP role proposed, and otherwise on that of the request."
    )


def _accepted(settings: StatementSettings) -> Iterator[tuple[str, str, str]]:
    yield _name(VERIFICATION), str(VERIFICATION), "answered"
    yield _name(PUSH_MODEL), str(PUSH_MODEL), "see 3.5"
    for sop_classes, fate in (
        (IMAGE_SOP_CLASSES, "kept, measured"),
        (OUTLINE_SOP_CLASSES, "kept, read for outlines"),
        (REPORT_SOP_CLASSES, "kept"),
        (other_sop_classes() if settings.keeps_other_sop_classes else (), "kept"),
    ):
        for each in sop_classes:
            yield _name(each), str(each), fate


def _syntaxes() -> Iterator[tuple[str, str, str]]:
    for syntaxes, what in (
        (UNCOMPRESSED_SYNTAXES, "uncompressed"),
        (LOSSLESS_SYNTAXES, "lossless: measured like uncompressed ones"),
        (LOSSY_SYNTAXES, "may be lossy: kept; lossy pixels are not scored unless the model allows"),
    ):
        for each in syntaxes:
            yield _name(each), str(each), what


def _requestor(settings: StatementSettings) -> Iterator[str]:
    yield "## 4 The application entity as requestor"
    yield _table(
        ("activity", "SOP class", "UID", "role", "transfer syntaxes"),
        (
            (
                "Send reports",
                _name(Comprehensive3DSRStorage),
                str(Comprehensive3DSRStorage),
                "SCU",
                _EXPLICIT,
            ),
            ("Send reports", _name(SegmentationStorage), str(SegmentationStorage), "SCU", _EXPLICIT),
            (
                "Send reports, where a page is asked for",
                _name(EncapsulatedPDFStorage),
                str(EncapsulatedPDFStorage),
                "SCU",
                _EXPLICIT,
            ),
            ("Ask for commitment", _name(PUSH_MODEL), str(PUSH_MODEL), "SCU", _DEFAULT),
            ("Tell of commitment", _name(PUSH_MODEL), str(PUSH_MODEL), "SCP", _DEFAULT),
            ("Compare with the PACS", _name(FIND), str(FIND), "SCU", _DEFAULT),
            ("Fetch what is missing", _name(MOVE), str(MOVE), "SCU", _DEFAULT),
            ("Fetch what is missing", _name(GET), str(GET), "SCU", _DEFAULT),
            (
                "Fetch what is missing",
                f"the {len(KNOWN_SOP_CLASSES)} SOP classes of images, outlines and SR in 3.2",
                "see 3.2",
                "SCP, by role selection",
                f"all {len(TRANSFER_SYNTAXES)} of 3.3",
            ),
        ),
    )
    yield (
        f"One association to a destination at a time for each revision of a study. A report counts as sent on "
        f"a Success or Warning status; otherwise it is sent again up to {settings.attempts} times, with waits "
        "that double, and is then put aside for the administrator. Statuses 0xA7xx, 0x0110 and 0x0213, and a "
        "peer that is away, lead to another attempt; every other failure puts the report aside at once. "
        f"Commitment is asked for, where configured, up to {settings.commitment_attempts} times. "
        + (
            "This installation sends the tumour board's page."
            if settings.writes_page
            else "This installation sends no Encapsulated PDF."
        )
    )
    yield (
        f"A study is compared with the PACS when nothing arrived for {settings.quiet_s:g} s. "
        + (
            f"This installation asks one, and fetches by {settings.retrieve.upper()}."
            if settings.retrieve
            else "This installation asks none: quiet time alone decides."
        )
        + " Keys of the questions: Study Instance UID, Series Instance UID, and as return keys the numbers of "
        "related series and instances, modality, SOP Class and Instance UID; for priors Patient ID and Study Date."
    )


_EXPLICIT = "Explicit VR Little Endian"
_DEFAULT = "Implicit, Explicit and Deflated Explicit VR Little Endian, Explicit VR Big Endian"


def _network(settings: StatementSettings) -> Iterator[str]:
    yield "## 5 Network interfaces and configuration"
    yield (
        f"TCP/IP, IPv4 or IPv6. AE title `{settings.ae_title}`, port {settings.port}; peers by AE title and "
        "address. All of it is configuration: see [settings](settings.md)."
    )
    yield (
        "DICOMweb (PS3.18): STOW-RS at `/dicom-web/studies` and `/dicom-web/studies/{study}`, "
        "`multipart/related; type=application/dicom` in, `application/dicom+json` out, with a bearer token; "
        "statuses 200, 202, 400, 401, 409, 413, 415 and 503."
    )


def _security(settings: StatementSettings) -> Iterator[str]:
    yield "## 6 Security"
    yield (
        "Secure transport: TLS 1.2 and 1.3 after the BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile (PS3.15 B.12), with or without "
        f"certificates of clients. Cipher suites of TLS 1.2: {', '.join(CIPHERS)}. "
        + (
            "This installation asks for TLS."
            if settings.speaks_tls
            else "This installation listens without TLS."
        )
    )
    yield (
        "No user identity negotiation, no digital signatures, no de-identification: objects are kept as they came."
    )


def _annexes() -> Iterator[str]:
    yield "## 7 Annexes"
    yield (
        "**Created objects.** Comprehensive 3D SR (TID 1500) twice for each revision: an Imaging Measurement Report "
        "with planar (TID 1410) and an Oncology Measurement Report with volumetric (TID 1411) groups; Segmentation "
        "where the outlines came as RTSTRUCT; where it is asked for, Encapsulated PDF with one page in the "
        "words of the first report, on which the patient's name stands. Patient and study "
        "attributes are those of the images. SOP Instance UIDs derive from study, revision and model, under the "
        "root 2.25; a retry sends the same object. Private coding scheme 99HCCCDS, whose codes stand in the reports."
    )
    yield (
        "**Character sets.** Received: every one that PS3.3 C.12.1.1.2 defines and pydicom decodes. "
        "Created: ISO_IR 192 (UTF-8)."
    )
    yield "**Private attributes, SOP classes and transfer syntaxes.** None."


def _name(uid: UID) -> str:
    return "Label Map Segmentation Storage" if uid == LABEL_MAP_SEGMENTATION_STORAGE else uid.name


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(
        (
            f"| {' | '.join(head)} |",
            f"|{' --- |' * len(head)}",
            *(f"| {' | '.join(row)} |" for row in rows),
        )
    )
