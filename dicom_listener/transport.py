# SPDX-License-Identifier: Apache-2.0
"""Connections of the listener: how many, TLS, and who reads them.

pynetdicom shakes TLS hands in the thread that accepts connections. Here a connection has a thread of
its own from the beginning, and `upper_layer` reads it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from dicom_listener.upper_layer import Ended, ReadingLimits, Store, UpperLayer

_CONNECTIONS_BEFORE_ASSOCIATION = 32
"""Connections beyond the associations that may be open, as while they are negotiated."""
_BACKLOG = 128
"""Connections that the kernel keeps until they are accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What connections may cost."""

    reading: ReadingLimits
    handshake_timeout_s: float
    maximum_connections: int


class _SharedContexts(list[Any]):
    """What is supported, the same for all associations; pynetdicom's copy for each costs 30 ms."""

    def __deepcopy__(self, _memo: Any) -> _SharedContexts:
        return self


class ListenerServer(ThreadedAssociationServer):
    """Accepts connections, one thread each.

    Parameters
    ----------
    listening
        A socket that other processes may share; None to make one.
    tls
        None without TLS.
    store
        Serves C-STORE requests.
    refused
        Called with the address and the reason when a connection ends before any association.
    ended
        Called with an association that ends otherwise than by its release, and why.
    """

    def __init__(
        self,
        *arguments: Any,
        limits: ConnectionLimits,
        tls: ssl.SSLContext | None,
        store: Store,
        refused: Callable[[str, str], None],
        ended: Ended,
        listening: socket.socket | None = None,
        **keywords: Any,
    ) -> None:
        self._listening = listening
        self._limits = limits
        self._tls = tls
        self._store = store
        self._refused = refused
        self._ended = ended
        keywords["request_handler"] = _Handler
        super().__init__(*arguments, **keywords)
        self.contexts = _SharedContexts(self.contexts)

    request_queue_size = _BACKLOG

    def server_bind(self) -> None:
        """Bind a socket, unless one was given."""
        if self._listening is None:
            super().server_bind()
            return
        made: Any = self.socket
        made.close()
        self.socket = self._listening
        self.server_address = self._listening.getsockname()

    def server_close(self) -> None:
        """Close the socket, and shut it down only if no other process listens to it."""
        if self._listening is None:
            super().server_close()
        else:
            self._listening.close()

    def read_for(self, assoc: Any) -> None:
        """Take over reading for an association that a connection may become."""
        UpperLayer(assoc, self._limits.reading, self._store, self._ended)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; TLS follows in a thread of its own."""
        listening: Any = self.socket
        connection, address = listening.accept()
        connection.settimeout(self._limits.reading.timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def verify_request(self, _request: Any, client_address: Any) -> bool:
        """Whether there is room for another connection."""
        room = self._limits.maximum_connections + _CONNECTIONS_BEFORE_ASSOCIATION
        if len(self.active_associations) < room:
            return True
        self._refused(str(client_address[0]), "too many connections")
        return False

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Shake hands and begin to listen to the peer."""
        if self._tls is not None:
            try:
                request.settimeout(self._limits.handshake_timeout_s)
                request = self._tls.wrap_socket(request, server_side=True)
                request.settimeout(self._limits.reading.timeout_s)
            except OSError as error:
                reason = getattr(error, "reason", None) or type(error).__name__
                self._refused(str(client_address[0]), f"TLS: {reason}")
                self.shutdown_request(request)
                return
        super().process_request_thread(request, client_address)

    def handle_error(self, _request: Any, client_address: Any) -> None:
        """Say that a connection failed; socketserver would print a traceback."""
        self._refused(str(client_address[0]), "failed")


class _Handler(RequestHandler):
    def _create_association(self) -> Any:
        assoc: Any = super()._create_association()
        server: Any = self.server
        server.read_for(assoc)
        return assoc
