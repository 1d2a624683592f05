# SPDX-License-Identifier: Apache-2.0
"""STOW-RS user agent: our reports to a DICOMweb service (PS3.18 10.5)."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from dicomweb_client.web import DICOMwebClient
from pydicom import dcmread

from dicom_listener.deliver import SendResult, status_result
from model.errors import PeerRefused, PeerUnavailable

_REFERENCED_SOP_SEQUENCE = "00081199"
_FAILED_SOP_SEQUENCE = "00081198"
_REFERENCED_SOP_INSTANCE_UID = "00081155"
_FAILURE_REASON = "00081197"

_ANSWERED = frozenset((200, 202, 409))
"""All, some and none of the instances are stored (PS3.18 Table 10.5.3-1); the body tells which."""

_MAY_PASS = frozenset((401, 403, 408, 425, 429))
"""Besides 5xx. A token that ran out is renewed by somebody else."""

_NEVER = frozenset((501, 505))

_LARGEST_ANSWER_BYTES = 8_000_000
_WHOLE = 2**31
"""One piece: chunked transfer encoding is not understood everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebPeer:
    """A DICOMweb service that stores."""

    url: str
    """Without `/studies`."""
    token: Callable[[], str]
    """Bearer token, read at each use; '' sends none."""
    ca: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None


def send_web(paths: Sequence[Path], peer: WebPeer, *, network_timeout_s: float) -> tuple[SendResult, ...]:
    """Post DICOM files in one request; one result for each, in order.

    An instance counts as accepted only when the answer's Referenced SOP Sequence names it: a status
    200 of a proxy or of a login page is none.

    Raises
    ------
    PeerUnavailable
        The service did not answer, or cannot take anything now.
    PeerRefused
        It takes nothing from us.
    """
    datasets = [dcmread(path) for path in paths]
    answers: list[requests.Response] = []

    def keep(response: requests.Response, *_: Any, **__: Any) -> None:
        # Here, for the client drops the body of 409 and of media types with a parameter.
        _read_bounded(response)
        answers.append(response)

    with requests.Session() as session, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote values
        client = _client(peer, session, keep, network_timeout_s)
        try:
            client.store_instances(datasets)
        except (PeerUnavailable, PeerRefused):
            raise
        except requests.TooManyRedirects:
            raise PeerRefused("redirected") from None
        except requests.exceptions.SSLError:
            raise PeerUnavailable("TLS failed") from None
        except Exception as error:  # noqa: BLE001 - the client's parsers name no base of what nonsense makes them raise
            if not answers:
                # Its text may hold the URL.
                known = isinstance(error, requests.RequestException)
                raise PeerUnavailable("cannot connect" if known else type(error).__name__) from None
    return _results([str(ds.SOPInstanceUID) for ds in datasets], answers[-1])


def _client(
    peer: WebPeer, session: requests.Session, keep: Callable[..., None], network_timeout_s: float
) -> DICOMwebClient:
    token = peer.token()
    session.trust_env = False  # neither a proxy nor a .netrc that nobody configured here
    session.max_redirects = 0  # a POST that is redirected becomes a GET, which stores nothing
    if peer.ca is not None:
        session.verify = str(peer.ca)
    if peer.certificate is not None:
        session.cert = (str(peer.certificate), str(peer.private_key))
    headers = {"Accept": "application/dicom+json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    client = DICOMwebClient(
        peer.url,
        session=session,
        headers=headers,
        callback=keep,
        chunk_size=_WHOLE,
        timeout=network_timeout_s,
    )
    client.set_http_retry_params(retry=False)
    return client


def _read_bounded(response: requests.Response) -> None:
    body = bytearray()
    for chunk in response.iter_content(65536):
        body += chunk
        if len(body) > _LARGEST_ANSWER_BYTES:
            response.close()
            raise PeerUnavailable("answer too large")
    response._content = bytes(body)  # noqa: SLF001 - what Response.content does, bounded


def _results(sop_instance_uids: Sequence[str], answer: requests.Response) -> tuple[SendResult, ...]:
    status = answer.status_code
    if status not in _ANSWERED:
        if status in _MAY_PASS or (status >= 500 and status not in _NEVER):
            raise PeerUnavailable(f"HTTP {status}")
        raise PeerRefused(f"HTTP {status}")
    stored, failed = _listed(answer.content)
    results = []
    for each in sop_instance_uids:
        if each in failed:
            result = status_result(failed[each])
            results.append(
                SendResult(accepted=False, retryable=result.retryable, reason=f"reason 0x{failed[each]:04X}")
            )
        elif each in stored and status != 409:
            results.append(SendResult(accepted=True, retryable=False, reason=""))
        else:
            results.append(SendResult(accepted=False, retryable=True, reason=f"not named (HTTP {status})"))
    return tuple(results)


def _listed(body: bytes) -> tuple[frozenset[str], Mapping[str, int]]:
    """Return what a Store Instances Response Module (PS3.18 Annex I) in DICOM JSON lists.

    That is the UIDs of stored instances, and of those that failed with their Failure Reason. What
    cannot be read lists nothing.
    """
    try:
        document = json.loads(body)
        document = document[0] if isinstance(document, list) else document
        stored = frozenset(
            str(item[_REFERENCED_SOP_INSTANCE_UID]["Value"][0])
            for item in document.get(_REFERENCED_SOP_SEQUENCE, {}).get("Value", [])
        )
        failed = {
            str(item[_REFERENCED_SOP_INSTANCE_UID]["Value"][0]): int(item[_FAILURE_REASON]["Value"][0])
            & 0xFFFF
            for item in document.get(_FAILED_SOP_SEQUENCE, {}).get("Value", [])
        }
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return frozenset(), {}
    return stored, failed
