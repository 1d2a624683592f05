# SPDX-License-Identifier: Apache-2.0
"""TLS after the BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile (PS3.15 B.12).

TLS 1.2 and 1.3 only; for 1.2 the four cipher suites that RFC 9325 4.2 recommends: forward secrecy and
authenticated encryption. That also keeps what the older non-downgrading profile (PS3.15 B.10) asks for.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from model.errors import ConfigError

CIPHERS = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
"""Of TLS 1.2, in OpenSSL's names; those of TLS 1.3 are all of this kind."""


def server_context(*, certificate: Path, private_key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """Return what a listener speaks TLS with.

    Parameters
    ----------
    client_ca
        Certificates (PEM) of those who vouch for peers; with it, a peer without a certificate is refused.

    Raises
    ------
    ConfigError
        A file cannot be read or does not fit the others.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(CIPHERS))
    # No session outlives a certificate that was withdrawn; compression is forbidden by RFC 9325 3.3.
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.load_cert_chain(certificate, private_key)
    except (OSError, ValueError) as error:
        raise ConfigError("listen.tls: certificate and private_key cannot be read or do not fit") from error
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ValueError) as error:
            raise ConfigError("listen.tls.client_ca cannot be read") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    *, ca: Path | None = None, certificate: Path | None = None, private_key: Path | None = None
) -> ssl.SSLContext:
    """Return what we call a peer with over TLS; its certificate must name the host that is called.

    Parameters
    ----------
    ca
        Certificates (PEM) of those who vouch for the peer; None: the system's.
    certificate, private_key
        Ours (PEM), for a peer that asks for one.

    Raises
    ------
    ConfigError
        A file cannot be read or does not fit the others.
    """
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
        if certificate is not None:
            context.load_cert_chain(certificate, private_key)
    except (OSError, ValueError) as error:
        raise ConfigError("tls: ca, certificate or private_key cannot be read or do not fit") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(CIPHERS))
    return context
