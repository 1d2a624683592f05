# SPDX-License-Identifier: Apache-2.0
"""The EHR of the demonstration: a made-up record, and a signed CDS Hooks call as EHRs send it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

from fhir_gateway import synthetic

ISS = "https://ehr.demo.example"
IDENTIFIER_SYSTEM = "urn:oid:2.999.1"
"""2.999 is the OID arc for examples."""

_FHIR_ID = "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPatient:
    """A person whom PACS and EHR both know."""

    patient_id: str = field(repr=False)
    birth_date: date = field(repr=False)


class DemoEhr:
    """Signs and sends CDS Hooks requests with a key of its own.

    Parameters
    ----------
    jwks_path
        Where its public key is written for the service to read.
    """

    def __init__(self, jwks_path: Path) -> None:
        self._key = ECKey.generate_key("P-384", parameters={"kid": "demo", "alg": "ES384", "use": "sig"})
        jwks_path.write_text(json.dumps({"keys": [self._key.as_dict(private=False)]}), encoding="utf-8")

    def order(self, url: str, patient: DemoPatient) -> dict[str, Any]:
        """Order atezolizumab and bevacizumab for `patient` and return what the service answers.

        Raises
        ------
        httpx.HTTPError
            The service cannot be reached or refuses.
        """
        answer = httpx.post(
            url,
            json=order_request(patient, today=datetime.now(UTC).date()),
            headers={"Authorization": f"Bearer {self._token(url)}"},
            timeout=10,
        )
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body

    def _token(self, url: str) -> str:
        now = datetime.now(UTC)
        claims = {
            "iss": ISS,
            "aud": url,
            "iat": int(now.timestamp()),
            "exp": int((now + timedelta(minutes=5)).timestamp()),
            "jti": uuid.uuid4().hex,
        }
        return jwt.encode(
            {"alg": "ES384", "kid": "demo", "typ": "JWT"}, claims, self._key, algorithms=["ES384"]
        )


def order_request(patient: DemoPatient, *, today: date) -> dict[str, Any]:
    """Return an `order-select` request with prefetch; ascites and encephalopathy are not documented."""
    prefetch = {
        **synthetic.record_of_hcc(
            _FHIR_ID,
            on=today - timedelta(days=4),
            identifiers=[(IDENTIFIER_SYSTEM, patient.patient_id)],
            birth_date=patient.birth_date,
        ),
        "findings": synthetic.bundle(),
    }
    return synthetic.hook_request(
        "order-select", _FHIR_ID, prefetch, orders=synthetic.atezolizumab_bevacizumab(_FHIR_ID)
    )
