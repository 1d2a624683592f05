# SPDX-License-Identifier: Apache-2.0
"""What the record says of a patient, each fact with its unit, date and source; how it was coded is not told.

`None` and absence mean "unknown", never "no": a rule must not take silence for a negative.
"""

from model.patient_facts.diagnosis import (
    Diagnosis,
    DiagnosisStatus,
    OtherCancer,
)
from model.patient_facts.drugs import (
    ActiveDrug,
    Drug,
    DrugRole,
    PastDrug,
)
from model.patient_facts.examination import (
    BloodPressureFact,
    BodyFact,
    BodyMeasure,
    EcogFact,
    Person,
    SignFact,
    SignGrade,
)
from model.patient_facts.history import (
    AUTOIMMUNE_TIERS,
    LOCOREGIONAL,
    Problem,
    ProblemFact,
    ProblemStatus,
    ProcedureFact,
    ProcedureKind,
    ProcedureStatus,
)
from model.patient_facts.laboratory import (
    CHILD_PUGH_ANALYTES,
    Analyte,
    Comparator,
    DipstickFact,
    DipstickGrade,
    LabFact,
    Quantity,
    SerologyFact,
    SerologyResult,
    SerologyTest,
)
from model.patient_facts.record import (
    PatientFacts,
)
from model.patient_facts.sources import (
    ANY_DAY,
    Days,
    Source,
    Unused,
)
from model.patient_facts.windows import (
    DEFAULT_WINDOWS,
    RecordWindows,
)

__all__ = [
    "ANY_DAY",
    "AUTOIMMUNE_TIERS",
    "CHILD_PUGH_ANALYTES",
    "DEFAULT_WINDOWS",
    "LOCOREGIONAL",
    "ActiveDrug",
    "Analyte",
    "BloodPressureFact",
    "BodyFact",
    "BodyMeasure",
    "Comparator",
    "Days",
    "Diagnosis",
    "DiagnosisStatus",
    "DipstickFact",
    "DipstickGrade",
    "Drug",
    "DrugRole",
    "EcogFact",
    "LabFact",
    "OtherCancer",
    "PastDrug",
    "PatientFacts",
    "Person",
    "Problem",
    "ProblemFact",
    "ProblemStatus",
    "ProcedureFact",
    "ProcedureKind",
    "ProcedureStatus",
    "Quantity",
    "RecordWindows",
    "SerologyFact",
    "SerologyResult",
    "SerologyTest",
    "SignFact",
    "SignGrade",
    "Source",
    "Unused",
]
