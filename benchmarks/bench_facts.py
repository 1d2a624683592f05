# SPDX-License-Identifier: Apache-2.0
"""How long a record takes to become facts: CPU time of `patient_facts`, the best of several runs.

The record is synthetic, of a patient with HCC on treatment: laboratory panels over the years, blood pressure
and weight at each visit, a problem list of which a third concerns us, prescriptions, procedures.

Run: `python benchmarks/bench_facts.py`. The last line is JSON.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from fhir_gateway import synthetic
from fhir_gateway.facts import patient_facts
from fhir_gateway.systems import LOINC, RXNORM, SNOMED, UCUM
from fhir_gateway.units import unit_converter

PATIENT = "p1"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SEED = 20261124
RUNS = 15

_PANEL = (
    # LOINC, unit, typical value
    ("1975-2", "mg/dL", 0.9),
    ("1751-7", "g/dL", 4.0),
    ("6301-6", "{INR}", 1.1),
    ("777-3", "10*3/uL", 140),
    ("718-7", "g/dL", 12.5),
    ("751-8", "10*3/uL", 4.1),
    ("731-0", "10*3/uL", 1.3),
    ("1920-8", "U/L", 45),
    ("1742-6", "U/L", 40),
    ("6768-6", "U/L", 110),
    ("2160-0", "mg/dL", 0.9),
    ("2951-2", "mmol/L", 139),
    ("1834-1", "ng/mL", 250),
    ("1988-5", "mg/L", 6),
    ("2345-7", "mg/dL", 101),  # glucose, potassium, calcium: nobody asks for them here
    ("2823-3", "mmol/L", 4.2),
    ("17861-6", "mg/dL", 9.1),
)

_PROBLEMS = (
    ("109841003", "Hepatocellular carcinoma"),
    ("19943007", "Cirrhosis of liver"),
    ("61977001", "Chronic hepatitis B"),
    ("28670008", "Esophageal varices"),
    ("38341003", "Hypertension"),
    ("195662009", "Acute viral pharyngitis"),
    ("444814009", "Viral sinusitis"),
    ("65966004", "Fracture of forearm"),
    ("55822004", "Hyperlipidemia"),
    ("74400008", "Appendicitis"),
    ("43878008", "Streptococcal sore throat"),
    ("396275006", "Osteoarthritis"),
)

_DRUGS = (
    (RXNORM, "306266", "entecavir 0.5 MG Oral Tablet"),
    (RXNORM, "20352", "carvedilol 6.25 MG Oral Tablet"),
    (RXNORM, "83367", "atorvastatin 20 MG Oral Tablet"),
    (RXNORM, "6809", "metformin 500 MG Oral Tablet"),
    (RXNORM, "161", "acetaminophen 325 MG Oral Tablet"),
)


def record(resources: int) -> dict[str, Any]:
    """Return a prefetch of about `resources` resources."""
    chance = random.Random(SEED)  # noqa: S311 - a record, not a secret
    laboratory: list[dict[str, Any]] = []
    visit = NOW - timedelta(days=3)
    wanted = resources * 3 // 4
    vital: list[dict[str, Any]] = []
    while len(laboratory) + len(vital) < wanted:
        for loinc, unit, value in _PANEL:
            laboratory.append(_value(len(laboratory), loinc, unit, value * chance.uniform(0.8, 1.2), visit))
        vital += [_blood_pressure(len(vital), visit, chance), _weight(len(vital) + 1, visit, chance)]
        visit -= timedelta(days=21)
    conditions = [_problem(number, chance) for number in range(resources // 8)]
    orders = [_order(number) for number in range(resources // 10)]
    procedures = [_procedure(number) for number in range(resources - wanted - len(conditions) - len(orders))]
    return {
        "patient": synthetic.patient(PATIENT, birth_date=date(1961, 5, 4)),
        "conditions": synthetic.bundle(*conditions),
        "laboratory": synthetic.bundle(*laboratory),
        "examination": synthetic.bundle(*vital),
        "findings": synthetic.bundle(
            synthetic.sign(PATIENT, "ascites", synthetic.ASCITES, synthetic.ABSENT, on=date(2026, 11, 20)),
            synthetic.sign(PATIENT, "he", synthetic.ENCEPHALOPATHY, synthetic.ABSENT, on=date(2026, 11, 20)),
        ),
        "medications": synthetic.bundle(*(each for each in orders if each["status"] == "active")),
        "past_medications": synthetic.bundle(*(each for each in orders if each["status"] != "active")),
        "procedures": synthetic.bundle(*procedures),
    }


def _observation(identifier: str, loinc: str, on: datetime, **value: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": identifier,
        "meta": {"versionId": "1", "lastUpdated": on.isoformat()},
        "status": "final",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category"}]}],
        "code": {"coding": [{"system": LOINC, "code": loinc, "display": "as named"}], "text": "as named"},
        "subject": {"reference": f"Patient/{PATIENT}"},
        "effectiveDateTime": on.isoformat(),
        "issued": (on + timedelta(hours=1)).isoformat(),
        **value,
    }


def _quantity(value: float, unit: str) -> dict[str, Any]:
    return {"value": round(value, 2), "unit": unit, "system": UCUM, "code": unit}


def _value(number: int, loinc: str, unit: str, value: float, on: datetime) -> dict[str, Any]:
    return _observation(
        f"lab-{number}",
        loinc,
        on,
        valueQuantity=_quantity(value, unit),
        referenceRange=[{"high": {"value": 1000, "unit": unit, "system": UCUM, "code": unit}}],
    )


def _blood_pressure(number: int, on: datetime, chance: random.Random) -> dict[str, Any]:
    parts = (("8480-6", chance.uniform(110, 145)), ("8462-4", chance.uniform(60, 90)))
    return _observation(
        f"bp-{number}",
        "85354-9",
        on,
        component=[
            {
                "code": {"coding": [{"system": LOINC, "code": code}]},
                "valueQuantity": _quantity(value, "mm[Hg]"),
            }
            for code, value in parts
        ],
    )


def _weight(number: int, on: datetime, chance: random.Random) -> dict[str, Any]:
    return _observation(f"kg-{number}", "29463-7", on, valueQuantity=_quantity(chance.uniform(68, 74), "kg"))


def _problem(number: int, chance: random.Random) -> dict[str, Any]:
    # The first of each kind once, then only what many a visit leaves behind.
    code, text = _PROBLEMS[number] if number < len(_PROBLEMS) else chance.choice(_PROBLEMS[5:])
    entry = synthetic.condition(
        PATIENT, f"problem-{number}", (SNOMED, code), recorded=date(2026, 11, 1), text=text
    )
    return entry if number < len(_PROBLEMS) else entry | {"onsetDateTime": "2019-03-02"}


def _order(number: int) -> dict[str, Any]:
    system, code, text = _DRUGS[number % len(_DRUGS)]
    status = "active" if number < len(_DRUGS) else "completed"
    return synthetic.medication_request(PATIENT, f"order-{number}", (system, code), status=status, text=text)


def _procedure(number: int) -> dict[str, Any]:
    code, text = (
        ("76009000", "Esophagogastroduodenoscopy") if number == 0 else ("430193006", "Reconciliation")
    )
    return {
        "resourceType": "Procedure",
        "id": f"procedure-{number}",
        "status": "completed",
        "code": {"coding": [{"system": SNOMED, "code": code, "display": text}], "text": text},
        "subject": {"reference": f"Patient/{PATIENT}"},
        "performedDateTime": "2026-09-01",
    }


def size(prefetch: Mapping[str, Any]) -> int:
    """Return how many resources `prefetch` holds."""
    return sum(len(each.get("entry", [each])) for each in prefetch.values())


def best_ms(prefetch: Mapping[str, Any], runs: int = RUNS) -> float:
    """Return the CPU time of the fastest of `runs` runs, in milliseconds."""
    converter = unit_converter()
    times = []
    for _ in range(runs + 1):  # the first fills the caches of tables and units, as in a running service
        start = time.process_time()
        patient_facts(prefetch, patient_id=PATIENT, now=NOW, converter=converter)
        times.append(time.process_time() - start)
    return min(times[1:]) * 1e3


def main() -> None:
    """Print the sizes, and the times as JSON."""
    small, large = record(200), record(5000)
    print(f"{size(small)} and {size(large)} resources, best of {RUNS} runs, CPU time")
    print(
        json.dumps(
            {
                "benchmark": "facts",
                "ms_200": round(best_ms(small), 2),
                "ms_5000": round(best_ms(large), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
