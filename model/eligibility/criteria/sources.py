# SPDX-License-Identifier: Apache-2.0
"""The sources that criteria cite, each once, with the certainty that the clinical reference gives it.

`S` read at the source or in an excerpt of it, `MC` well known but not read there. What the reference is
unsure of is not here. Excerpts are not whole documents: clinicians sign the rule book off before use.
"""

from __future__ import annotations

from model.eligibility.criterion import Citation

ASCO_2024 = Citation(text="ASCO guideline update 2024 (10.1200/JCO.23.02745)", year=2024, certainty="S")
ASCO_2020 = Citation(text="ASCO guideline 2020, pocket guide", year=2020, certainty="S")
ASCO_HBV = Citation(
    text="ASCO provisional clinical opinion on hepatitis B screening", year=2020, certainty="S"
)
AASLD_2023 = Citation(text="AASLD guidance 2023 (10.1097/HEP.0000000000000466)", year=2023, certainty="S")
AASLD_HBV_2018 = Citation(text="AASLD hepatitis B guidance 2018, summary", year=2018, certainty="S")
EASL_HBV_2017 = Citation(text="EASL hepatitis B guideline 2017, summary", year=2017, certainty="S")
BCLC_2022 = Citation(text="BCLC strategy 2022 (PMC8866082)", year=2022, certainty="S")
IMBRAVE150 = Citation(text="IMbrave150 (NCT03434379)", year=2020, certainty="S")
IMBRAVE150_PROTOCOL = Citation(text="IMbrave150 protocol", year=2020, certainty="MC")
IMBRAVE150_ALBI = Citation(
    text="IMbrave150, ALBI post hoc (Kudo, PMC10601852), exploratory", year=2023, certainty="S"
)
ATEZO_BEV_LABORATORY = Citation(
    text="laboratory limits of the atezolizumab + bevacizumab study NCT04649489, as IMbrave150's",
    certainty="S",
)
ATEZO_BEV_HBV = Citation(
    text="atezolizumab + bevacizumab study NCT04605796: HBV DNA < 500 IU/mL under an antiviral",
    certainty="S",
)
HIMALAYA = Citation(text="HIMALAYA (NCT03298451)", year=2022, certainty="S")
TRIALS_PROTOCOL = Citation(text="exclusions of the pivotal trials", certainty="MC")
CHECKMATE_9DW = Citation(text="CheckMate 9DW (NCT04039607)", year=2025, certainty="S")
CHILD_PUGH_B_COHORT = Citation(
    text="Child-Pugh B on atezolizumab + bevacizumab (Cheon, PMC10495918, n = 36)", year=2023, certainty="S"
)
BLEEDING_COHORT = Citation(
    text="variceal bleeding on checkpoint inhibitors (WJGO 2025;17(8):108887, n = 286)",
    year=2025,
    certainty="S",
)
BEVACIZUMAB_LABEL = Citation(text="bevacizumab label, warnings (excerpts)", certainty="S")
BEVACIZUMAB_LABEL_MEMORY = Citation(text="bevacizumab label, warnings", certainty="MC")
CHECKPOINT_LABELS = Citation(text="labels of the checkpoint inhibitors, warnings", certainty="MC")
TREMELIMUMAB_LABEL = Citation(
    text="tremelimumab label, dosage: US cut at 30 kg, EU at 40 kg (excerpts)", certainty="S"
)
IPILIMUMAB_DOSE = Citation(
    text="CheckMate 9DW (NCT04039607): ipilimumab for at most 4 doses", year=2025, certainty="S"
)
TRANSPLANT_REVIEW = Citation(
    text="Wassmer, Cancers 2023;15:4574: checkpoint inhibitors and liver transplantation",
    year=2023,
    certainty="S",
)
BAVENO_VII = Citation(text="Baveno VII: prophylaxis of variceal bleeding", year=2022, certainty="MC")
UK_BEVACIZUMAB = Citation(text="UK guidance on bevacizumab: caution", certainty="S")


def design(why: str) -> Citation:
    """Return the reason for a criterion that cites nothing."""
    return Citation(text=why, certainty="—")


def remembered(text: str, year: int | None = None) -> Citation:
    """Return a source that is well known and was not read."""
    return Citation(text=text, year=year, certainty="MC")
