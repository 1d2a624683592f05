# SPDX-License-Identifier: Apache-2.0
"""A PACS over DICOMweb: QIDO-RS asks what it holds, WADO-RS fetches it (PS3.18 10)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import requests
from dicomweb_client.web import DICOMwebClient
from pydicom import dcmwrite
from pydicom.dataset import Dataset

from dicom_listener.attributes import uid
from dicom_listener.intake import Intake
from dicom_listener.pacs import (
    SERIES_KEYS,
    STUDY_KEYS,
    Budget,
    FoundStudy,
    HeldInstance,
    HeldStudy,
    Wanted,
    held_instances,
    held_study,
)
from model.errors import PeerRefused, PeerUnavailable

_MOST_ANSWERS = 20_000
_LARGEST_ANSWER_BYTES = 64_000_000
"""Of one QIDO-RS query, whose answers have about one kilobyte each."""

_AS_STORED = (("application/dicom", "*"),)
"""Any transfer syntax (PS3.18 8.7.3.5.2): the pixels as they are, without another compression."""

_MAY_PASS = frozenset((408, 425, 429))


@dataclass(frozen=True, slots=True, kw_only=True)
class WebNode:
    """Where the PACS is."""

    url: str
    """Of the DICOMweb service, without `/studies`."""
    token: Callable[[], str]
    """Bearer token, read at each use; '' sends none."""
    network_timeout_s: float
    ca_path: Path | None = None
    """Certificates of those who vouch for it; None for the authorities that certifi lists."""


class WebPacs:
    """A PACS over DICOMweb.

    It is not asked for the studies of a patient: QIDO-RS would carry the Patient ID in a URL.

    Parameters
    ----------
    intake
        Takes what WADO-RS brings.
    question_s
        Time that the PACS has for all answers to one question.
    """

    def __init__(self, node: WebNode, intake: Intake, *, question_s: float) -> None:
        self._node = node
        self._intake = intake
        self._question_s = question_s

    def study(self, study_instance_uid: str) -> HeldStudy | None:
        """Return what the PACS holds of a study; None if it does not know it."""
        with self._connected(self._question()) as client:
            found = client.search_for_studies(
                search_filters={"StudyInstanceUID": study_instance_uid}, fields=list(STUDY_KEYS), limit=2
            )
            studies = [
                each for each in _datasets(found) if uid(each, "StudyInstanceUID") == study_instance_uid
            ]
            if not studies:
                return None
            series = client.search_for_series(
                study_instance_uid, fields=[*SERIES_KEYS, "SeriesInstanceUID"], limit=_MOST_ANSWERS
            )
            return held_study(studies[0], _datasets(series))

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> tuple[HeldInstance, ...]:
        """Return the instances of a series; none where the PACS does not tell."""
        with self._connected(self._question()) as client:
            return held_instances(
                _datasets(
                    client.search_for_instances(
                        study_instance_uid, series_instance_uid, fields=["SOPClassUID"], limit=_MOST_ANSWERS
                    )
                )
            )

    def studies_of(self, patient_id: str, *, before: date) -> tuple[FoundStudy, ...]:  # noqa: ARG002 - see the class
        """Return nothing: the question would carry the Patient ID in a URL."""
        return ()

    def fetch(self, wanted: Wanted, budget: Budget) -> None:
        """Have the PACS send `wanted`; what arrived is known by the archive alone."""
        study, series = wanted.study_instance_uid, wanted.series_instance_uid
        with self._connected(budget) as client:
            if wanted.sop_instance_uids:
                for each in wanted.sop_instance_uids:
                    self._take(client.retrieve_instance(study, series, each, media_types=_AS_STORED), study)
            else:
                for ds in client.iter_series(study, series, media_types=_AS_STORED):
                    self._take(ds, study)

    def _take(self, ds: Dataset, study_instance_uid: str) -> None:
        encoded = BytesIO()
        # Values that nobody touched are written as they were read.
        dcmwrite(encoded, ds, enforce_file_format=True)
        self._intake.take_file(
            encoded.getbuffer(), source="complete.pacs", study_instance_uid=study_instance_uid
        )

    def _question(self) -> Budget:
        return Budget(seconds=self._question_s, maximum_bytes=_LARGEST_ANSWER_BYTES)

    @contextmanager
    def _connected(self, budget: Budget) -> Iterator[DICOMwebClient]:
        """Hold a session while the body runs; faults of the PACS become errors of ours."""
        token = self._node.token()
        with requests.Session() as session, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            session.trust_env = False  # neither a proxy nor a .netrc that nobody configured here
            session.verify = str(self._node.ca_path) if self._node.ca_path else True
            client = DICOMwebClient(
                self._node.url,
                session=session,
                headers={"Authorization": f"Bearer {token}"} if token else None,
                callback=partial(_bounded, budget),
                timeout=self._node.network_timeout_s,
            )
            client.set_http_retry_params(retry=False)
            try:
                yield client
            except (PeerUnavailable, PeerRefused):
                raise
            except requests.HTTPError as error:
                status = error.response.status_code if error.response is not None else 0
                if 400 <= status < 500 and status not in _MAY_PASS:
                    raise PeerRefused(f"the PACS answers HTTP {status}") from None
                raise PeerUnavailable(f"the PACS answers HTTP {status}") from None
            except requests.JSONDecodeError:
                raise PeerUnavailable("the PACS answers nonsense") from None
            except requests.RequestException:
                # Its text holds the URL.
                raise PeerUnavailable("the PACS cannot be reached") from None
            except Exception as error:  # noqa: BLE001 - client and parsers name no base of what nonsense makes them raise
                raise PeerUnavailable(f"the PACS answers nonsense ({type(error).__name__})") from None


class _BoundedBody:
    """The body of an HTTP response, counted as it is read."""

    def __init__(self, body: Any, budget: Budget) -> None:
        self._body = body
        self._budget = budget

    def stream(self, amount: int, **options: Any) -> Iterator[bytes]:
        """Yield the body in chunks; raise PeerUnavailable as soon as the budget is spent."""
        for chunk in self._body.stream(amount, **options):
            self._budget.spend(len(chunk))
            yield chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)


def _bounded(budget: Budget, response: requests.Response, *_: Any, **__: Any) -> requests.Response:
    """Bound a response before its body is read: the client's hook comes before."""
    response.raw = _BoundedBody(response.raw, budget)
    return response


def _datasets(found: Iterable[dict[str, Any]]) -> list[Dataset]:
    """Return answers in the DICOM JSON model (PS3.18 Annex F) as data sets."""
    return [Dataset.from_json(each) for each in found]
