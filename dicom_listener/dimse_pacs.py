# SPDX-License-Identifier: Apache-2.0
"""A PACS over DIMSE: C-FIND asks what it holds, C-MOVE or C-GET fetches it (PS3.4 Annex C)."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import build_role, evt
from pynetdicom.status import code_to_category

from dicom_listener.attributes import text, uid
from dicom_listener.calling import (
    Failure,
    Peer,
    calling_entity,
    failure_of,
    open_association,
    rejection_reason,
)
from dicom_listener.intake import Intake, Taken
from dicom_listener.pacs import (
    INSTANCE_KEYS,
    PATIENT_STUDY_KEYS,
    SERIES_KEYS,
    STUDY_KEYS,
    Budget,
    FoundStudy,
    HeldInstance,
    HeldStudy,
    Wanted,
    found_studies,
    held_instances,
    held_study,
)
from dicom_listener.status import StorageStatus, response
from dicom_listener.syntaxes import KNOWN_SOP_CLASSES, TRANSFER_SYNTAXES
from model.errors import PeerRefused, PeerUnavailable

FIND, MOVE, GET = (UID(f"1.2.840.10008.5.1.4.1.2.2.{each}") for each in (1, 2, 3))
"""Study Root Query/Retrieve Information Model (PS3.4 C.6.2)."""

_MOST_ANSWERS = 20_000
"""Of one C-FIND; a PACS that ignores the keys of the question sends its whole index."""

_AFTER_ABORT_S = 0.1
"""pynetdicom waits for one more message of an association that it aborted."""

_MOVE_DESTINATION_UNKNOWN = 0xA801
"""PS3.4 Table C.4-2."""

_UTF_8 = "ISO_IR 192"


@dataclass(frozen=True, slots=True, kw_only=True)
class DimseNode:
    """Where the PACS is and how it is called."""

    host: str
    port: int
    ae_title: str
    calling_ae_title: str
    """Ours; C-MOVE sends to the node that the PACS knows under it."""
    retrieve_by_get: bool
    """C-GET brings objects over the association that asks; C-MOVE has the PACS call our listener."""
    network_timeout_s: float
    """Time that the PACS has for each answer."""
    maximum_pdu_size_bytes: int = 262_144
    tls: ssl.SSLContext | None = None


class DimsePacs:
    """A PACS over DIMSE.

    Parameters
    ----------
    intake
        Takes what C-GET brings.
    question_s
        Time that the PACS has for all answers to one question.
    """

    def __init__(self, node: DimseNode, intake: Intake, *, question_s: float) -> None:
        self._node = node
        self._intake = intake
        self._question_s = question_s

    def study(self, study_instance_uid: str) -> HeldStudy | None:
        """Return what the PACS holds of a study; None if it does not know it."""
        with self._associated([FIND]) as assoc:
            asked = {"StudyInstanceUID": study_instance_uid}
            studies = [
                each
                for each in self._find(assoc, "STUDY", asked, STUDY_KEYS)
                if uid(each, "StudyInstanceUID") == study_instance_uid
            ]
            if not studies:
                return None
            series = self._find(assoc, "SERIES", asked, ("SeriesInstanceUID", *SERIES_KEYS))
            return held_study(studies[0], [each for each in series if _agrees(each, asked)])

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> tuple[HeldInstance, ...]:
        """Return the instances of a series; none where the PACS does not tell."""
        with self._associated([FIND]) as assoc:
            asked = {"StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": series_instance_uid}
            answers = self._find(assoc, "IMAGE", asked, ("SOPInstanceUID", *INSTANCE_KEYS))
            return held_instances(each for each in answers if _agrees(each, asked))

    def studies_of(self, patient_id: str, *, before: date) -> tuple[FoundStudy, ...]:
        """Return the studies of a Patient ID, of whatever issuer, up to a day."""
        if any(each in patient_id for each in "*?\\"):
            return ()  # wildcards (PS3.4 C.2.2.2.4) would find other patients
        with self._associated([FIND]) as assoc:
            asked = {"PatientID": patient_id, "StudyDate": f"-{before:%Y%m%d}"}
            keys = ("StudyInstanceUID", *(each for each in PATIENT_STUDY_KEYS if each not in asked))
            answers = self._find(assoc, "STUDY", asked, keys)
            return found_studies(each for each in answers if text(each, "PatientID") == patient_id)

    def fetch(self, wanted: Wanted, budget: Budget) -> None:
        """Have the PACS send `wanted`; what arrived is known by the archive alone."""
        identifier = Dataset()
        identifier.QueryRetrieveLevel = "IMAGE" if wanted.sop_instance_uids else "SERIES"
        identifier.StudyInstanceUID = wanted.study_instance_uid
        identifier.SeriesInstanceUID = wanted.series_instance_uid
        if wanted.sop_instance_uids:
            identifier.SOPInstanceUID = list(wanted.sop_instance_uids)
        if self._node.retrieve_by_get:
            self._get(identifier, budget)
        else:
            with self._associated([MOVE]) as assoc:
                answers = assoc.send_c_move(identifier, self._node.calling_ae_title, MOVE)
                self._follow("C-MOVE", answers, budget)

    def _get(self, identifier: Dataset, budget: Budget) -> None:
        cut: list[PeerUnavailable] = []

        def take(event: Any) -> Dataset:
            request = event.request
            data = request.DataSet.getbuffer()
            taken: Taken = self._intake.take(
                data,
                transfer_syntax_uid=str(event.context.transfer_syntax),
                source=self._node.ae_title,
                command=(str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)),
                study_instance_uid=str(identifier.StudyInstanceUID),
            )
            try:
                budget.spend(len(data))
            except PeerUnavailable as error:
                cut.append(error)
                event.assoc.dimse_timeout = _AFTER_ABORT_S
                event.assoc.abort()
                return response(StorageStatus.OUT_OF_RESOURCES)
            return response(taken.status)

        with self._associated([GET], stores=KNOWN_SOP_CLASSES, take=take) as assoc:
            try:
                self._follow("C-GET", assoc.send_c_get(identifier, GET), budget)
            except PeerUnavailable as error:
                raise (cut[0] if cut else error) from None

    @staticmethod
    def _follow(name: str, answers: Iterator[tuple[Dataset, Dataset | None]], budget: Budget) -> None:
        """Wait until sub-operations end, or the budget; what failed among them shows in the archive."""
        for status, _identifier in answers:
            if "Status" not in status:
                raise PeerUnavailable(f"the PACS does not answer the {name}")
            code = int(status.Status)
            category = code_to_category(code)
            if category == "Pending":
                budget.check()
            elif code == _MOVE_DESTINATION_UNKNOWN:
                raise PeerRefused("the PACS does not know our AE title as a destination of C-MOVE")
            elif category not in {"Success", "Warning"}:
                raise PeerUnavailable(f"{name} ended with status 0x{code:04X}")

    def _find(
        self, assoc: Any, level: str, asked: dict[str, str], keys: Sequence[str]
    ) -> tuple[Dataset, ...]:
        identifier = Dataset()
        identifier.SpecificCharacterSet = _UTF_8
        identifier.QueryRetrieveLevel = level
        for keyword, value in asked.items():
            setattr(identifier, keyword, value)
        for keyword in keys:
            if keyword not in asked:
                setattr(identifier, keyword, None)
        budget = Budget(seconds=self._question_s, maximum_bytes=0)
        found: list[Dataset] = []
        for status, answer in assoc.send_c_find(identifier, FIND):
            if "Status" not in status:
                raise PeerUnavailable("the PACS does not answer the C-FIND")
            category = code_to_category(int(status.Status))
            if category == "Pending":
                if answer is not None:
                    found.append(answer)
                if len(found) > _MOST_ANSWERS:
                    raise PeerUnavailable("the PACS answers without end")
                budget.check()
            elif category != "Success":
                raise PeerUnavailable(f"C-FIND ended with status 0x{int(status.Status):04X}")
        return tuple(found)

    @contextmanager
    def _associated(
        self,
        models: Sequence[UID],
        *,
        stores: Sequence[UID] = (),
        take: Callable[[Any], Dataset] | None = None,
    ) -> Iterator[Any]:
        """Hold an association while the body runs; it is released, or aborted when the body fails."""
        ae = calling_entity(self._node.calling_ae_title, self._node.network_timeout_s)
        for model in models:
            ae.add_requested_context(model)
        for sop_class in stores:
            ae.add_requested_context(sop_class, list(TRANSFER_SYNTAXES))
        assoc = open_association(
            ae,
            Peer(
                host=self._node.host, port=self._node.port, ae_title=self._node.ae_title, tls=self._node.tls
            ),
            max_pdu=self._node.maximum_pdu_size_bytes,
            ext_neg=[build_role(each, scp_role=True) for each in stores],
            evt_handlers=[(evt.EVT_C_STORE, take)] if take else [],
        )
        if not assoc.is_established:
            if assoc.rejected_contexts and not assoc.accepted_contexts:
                raise PeerRefused("the PACS does not accept Study Root Query/Retrieve")
            raise PeerUnavailable(_failure(assoc))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pydicom's warnings quote values
                yield assoc
        except (ValueError, RuntimeError) as error:
            # pynetdicom: no context for it, or the association was lost in between.
            assoc.abort()
            raise PeerUnavailable("the PACS broke off") from error
        except BaseException:
            assoc.abort()
            raise
        assoc.release()


def _failure(assoc: Any) -> str:
    """Return why the PACS could not be asked, for whoever can mend it."""
    match failure_of(assoc):
        case Failure.REJECTED:
            return f"the PACS rejects the association ({rejection_reason(assoc)}); does it know our AE title?"
        case Failure.NO_ANSWER:
            return "the PACS does not answer the request for an association"
        case Failure.CANNOT_CONNECT:
            return "the PACS cannot be reached"


def _agrees(answer: Dataset, asked: dict[str, str]) -> bool:
    """Whether an answer speaks of what was asked; a PACS may leave out keys that it was given."""
    return all(uid(answer, keyword) in ("", value) for keyword, value in asked.items())
