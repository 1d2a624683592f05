# SPDX-License-Identifier: Apache-2.0
"""DICOMweb STOW-RS (PS3.18 10.5): the second door to the archive, in a process of its own.

The body is read as it comes; of a request of many instances, one is in memory at a time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from email.message import Message
from http import HTTPStatus
from typing import IO, Any

from flask import Flask, Response, g, request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser
from werkzeug.exceptions import HTTPException

from cds_service.listen_config import StowConfig
from cds_service.sections import is_loopback
from dicom_listener.intake import Intake, Taken
from dicom_listener.status import StorageStatus
from dicom_listener.store_response import store_response
from model.domain import is_uid

_READ_BYTES = 262_144
_DICOM = "application/dicom"
_ANSWERS = ("application/dicom+json", "application/json", "application/*", "*/*")
_RETRY_AFTER_S = 60
_META_ALLOWANCE_BYTES = 1_000_000
"""Preamble and File Meta Information, beyond the data set that the limit is about."""


class _Refused(Exception):
    """The request is answered without an instance having been looked at, or to its end."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def create_stow_app(
    settings: StowConfig, intake: Intake, *, touched: Callable[[str], None], log: Any
) -> Flask:
    """Return the web application of one process.

    Parameters
    ----------
    touched
        Called with the Study Instance UID when something of a study was stored.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.maximum_request_mb * 1_000_000
    senders = _Senders(settings)

    @app.before_request
    def authenticate() -> None:
        g.sender = senders.name_of(request.headers.get("Authorization"), request.remote_addr or "")

    @app.post("/dicom-web/studies")
    @app.post("/dicom-web/studies/<study_instance_uid>")
    def store(study_instance_uid: str = "") -> Response:
        if study_instance_uid and not is_uid(study_instance_uid):
            raise _Refused(HTTPStatus.BAD_REQUEST, "the study is named by no UID")
        if not any(each.split(";")[0].strip() in _ANSWERS for each in _accepted()):
            raise _Refused(HTTPStatus.NOT_ACCEPTABLE, "only JSON is answered")
        taken = list(_take_all(intake, g.sender, study_instance_uid, touched))
        status = _status(taken)
        log.info(
            "instances_posted",
            source=g.sender,
            count=sum(each.status is StorageStatus.SUCCESS for each in taken),
            status=status.value,
        )
        response = Response(store_response(taken), status.value, content_type="application/dicom+json")
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            response.headers["Retry-After"] = str(_RETRY_AFTER_S)
        return response

    def refused(error: _Refused) -> Response:
        log.warning(
            "post_refused", source=g.get("sender", ""), status=error.status.value, reason=error.reason
        )
        response = Response(
            f"{error.status.phrase}: {error.reason}.\n", error.status.value, mimetype="text/plain"
        )
        if error.status is HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response

    def http_error(error: HTTPException) -> Response:
        status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
        return refused(
            _Refused(status, "see stow.maximum_request_mb" if status == 413 else "not offered here")
        )

    def failed(error: Exception) -> Response:
        log.error("post_failed", source=g.get("sender", ""), error=type(error).__name__)
        return Response("Internal error.\n", HTTPStatus.INTERNAL_SERVER_ERROR.value, mimetype="text/plain")

    app.register_error_handler(_Refused, refused)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, failed)
    return app


class _Senders:
    """Who may post: senders with a bearer token of which the settings hold the SHA-256 only."""

    def __init__(self, settings: StowConfig) -> None:
        self._settings = settings

    def name_of(self, authorization: str | None, remote_address: str) -> str:
        """Return the name of the sender."""
        scheme, _, token = (authorization or "").partition(" ")
        digest = hashlib.sha256(token.strip().encode()).hexdigest()
        name = ""
        # All of them, so that the time tells nothing of how far the list was searched.
        for sender in self._settings.senders:
            if hmac.compare_digest(sender.token_sha256, digest) and scheme.lower() == "bearer":
                name = sender.name
        if name:
            return name
        if self._settings.development_without_token and is_loopback(remote_address):
            return "development"
        raise _Refused(HTTPStatus.UNAUTHORIZED, "a token of one of stow.senders is required")


def _accepted() -> list[str]:
    return request.headers.get("Accept", "*/*").split(",")


def _take_all(
    intake: Intake, sender: str, study_instance_uid: str, touched: Callable[[str], None]
) -> Iterator[Taken]:
    """Take every instance of the request's body as it arrives."""
    studies: set[str] = set()
    for file in _files(request.stream, request.headers.get("Content-Type", ""), intake):
        taken = (
            intake.refuse(StorageStatus.OBJECT_TOO_LARGE, source=sender)
            if file is None
            else intake.take_file(file, source=sender, study_instance_uid=study_instance_uid)
        )
        if taken.status is StorageStatus.SUCCESS and taken.study_instance_uid not in studies:
            studies.add(taken.study_instance_uid)
            touched(taken.study_instance_uid)
        yield taken
    for each in sorted(studies):
        touched(each)


def _status(taken: list[Taken]) -> HTTPStatus:
    """Return the status of the whole (PS3.18 Table 10.5.3-1)."""
    if not taken:
        raise _Refused(HTTPStatus.BAD_REQUEST, "the body holds no instance")
    stored = sum(each.status is StorageStatus.SUCCESS for each in taken)
    if stored == len(taken):
        return HTTPStatus.OK
    if stored:
        return HTTPStatus.ACCEPTED
    if all(each.status.is_temporary for each in taken):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.CONFLICT


def _files(stream: IO[bytes], content_type: str, intake: Intake) -> Iterator[bytearray | None]:
    """Yield the DICOM files in a body, None for one that is too large to hold."""
    maximum_bytes = intake.limits.maximum_object_bytes + _META_ALLOWANCE_BYTES
    header = _content_type(content_type)
    if header.get_content_type() == _DICOM:
        parts = Parts(maximum_bytes)
        parts.begin()
        while chunk := stream.read(_READ_BYTES):
            parts.data(chunk, 0, len(chunk))
        parts.end()
        yield from parts.ready()
    elif header.get_content_type() == "multipart/related" and header.get_param("type", _DICOM) == _DICOM:
        yield from _parts(stream, header.get_boundary(""), Parts(maximum_bytes))
    else:
        raise _Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "only application/dicom, or multipart/related of it, is taken"
        )


def _content_type(text: str) -> Message:
    # The standard library's reading: it takes `type=application/dicom` without the quotes it should have.
    header = Message()
    header["Content-Type"] = text
    return header


def _parts(stream: IO[bytes], boundary: str, parts: Parts) -> Iterator[bytearray | None]:
    if not 1 <= len(boundary) <= 70:  # RFC 2046 5.1.1
        raise _Refused(HTTPStatus.BAD_REQUEST, "the body's boundary is not named")
    parser = MultipartParser(boundary, parts.callbacks())
    try:
        while chunk := stream.read(_READ_BYTES):
            parser.write(chunk)
            yield from parts.ready()
        parser.finalize()
    except MultipartParseError as error:
        raise _Refused(HTTPStatus.BAD_REQUEST, "the body is no multipart/related") from error
    if not parts.ended:
        raise _Refused(HTTPStatus.BAD_REQUEST, "the body ends before its last boundary")


class Parts:
    """Collects the parts of a multipart body, each until it is taken.

    Parameters
    ----------
    maximum_bytes
        A larger part is forgotten while it is read.
    """

    def __init__(self, maximum_bytes: int) -> None:
        self._maximum_bytes = maximum_bytes
        self._header = bytearray()
        self._value = bytearray()
        self._media_type = _DICOM
        self._part: bytearray | None = bytearray()
        self._ready: list[bytearray | None] = []
        self.ended = False

    def callbacks(self) -> Any:
        """Return what the parser calls."""
        return {
            "on_part_begin": self.begin,
            "on_header_begin": self._header_begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self.data,
            "on_part_end": self.end,
            "on_end": self._finished,
        }

    def begin(self) -> None:
        """Begin a part."""
        self._part = bytearray()
        self._media_type = _DICOM

    def data(self, data: bytes, start: int, end: int) -> None:
        """Add to the part."""
        if self._part is None:
            return
        if len(self._part) + end - start > self._maximum_bytes:
            self._part = None
            return
        self._part += memoryview(data)[start:end]

    def end(self) -> None:
        """End the part."""
        self._ready.append(self._part)
        self._part = None

    def ready(self) -> Iterator[bytearray | None]:
        """Yield the parts that are whole, once."""
        while self._ready:
            yield self._ready.pop(0)

    def _header_begin(self) -> None:
        self._header.clear()
        self._value.clear()

    def _header_end(self) -> None:
        if self._header.lower() == b"content-type":
            self._media_type = _content_type(self._value.decode("latin-1")).get_content_type()

    def _headers_finished(self) -> None:
        if self._media_type != _DICOM:
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a part is no application/dicom")

    def _finished(self) -> None:
        self.ended = True
