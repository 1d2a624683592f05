# SPDX-License-Identifier: Apache-2.0
"""The contrast phase that metadata state: a hint with its sources, never a proof and never a guess.

Three kinds of statement are read: the words of the series description, the coded phase of
enhanced images (Contrast/Bolus Agent Phase, 0018,9344), and the time from injection to
acquisition. What does not agree leaves the phase unknown. The pixels are not asked, so
that no more than moderate confidence is ever given.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom.dataset import Dataset

from dicom_listener.attributes import text
from model.acquisition import ContrastPhase, PhaseConfidence

_WITH_AND_WITHOUT = re.compile(
    r"\bw ?/? ?o\b[ /+&]*(?:and)?[ /+&]*\bw(?:ith)?\b|\bw(?:ith)?\b[ /+&]*(?:and)?[ /+&]*\bw ?/? ?o\b"
)
"""'W WO', 'w/o & w': what the whole study was ordered as."""

_PHASES: tuple[tuple[ContrastPhase, tuple[str, ...]], ...] = (
    (
        ContrastPhase.UNENHANCED,
        (
            r"\bnon? ?(?:con\b|contrast|enh|kontrast|ce\b|c\b)|\bunenhanced|\bnc(?:ct)?\b|\bnect\b",
            r"\bw ?/ ?o\b|\bwo\b",
            r"\bpre ?(?:contrast|kontrast|kon|con|gd|gad)\b",
            r"\bpre\b(?! ?(?:op\b|operat|tace|treat|proc|ablat|inter|therap|trans))",
            r"\bplain\b|\bnativ[eo]?\b",
            r"\bwithout (?:iv )?(?:con|gad|gd|kontrast)|\bohne (?:iv )?(?:km|kontrast)",
            r"\bsans (?:iv|injection|contraste|produit|pdc|inj\b)|\bsin contraste|\bsimple\b|\bbasale?\b",
            r"\bsenza (?:mdc|contrasto)|\bdiretta\b|\bsem contraste|\bblanco\b",
            r"平扫|平掃|単純|비조영|조영 ?전",
        ),
    ),
    (
        ContrastPhase.ARTERIAL,
        (
            r"\bart(?:s|erial|erielle?|eriell|eriel|erieel|eriosa|eriale|eriales|phase)?\b|\bl?hap\b",
            r"动脉|動脈|동맥",
        ),
    ),
    (
        ContrastPhase.PORTAL_VENOUS,
        (
            r"\bportal|\bport(?:ale|o)\b|\bportoven|\bportaal|\bpvp?\b|\bven(?:s|ous|oes|os|euse?|osa|eus|oso)?\b",
            r"\bvenous|\bvenoes|\bvenos|\b70 ?s(?:ec)?\b",
            r"门静脉|門静脈|门脉|門脈|門脉|静脉期|靜脈期|문맥",
        ),
    ),
    (
        ContrastPhase.DELAYED,
        (
            r"\bdelay|\bdel\b|\blate\b(?! ?art)|\bequil|\bdp\b|\b[35] ?min|\b180 ?s(?:ec)?\b",
            r"\bspae?t(?! ?art)|\baquilib|\bgleichgew|\btardi(?:f|ve|va|a|vo)\b|\blaat\b",
            r"延迟|延遲|平衡相|平衡期|後期相|지연",
        ),
    ),
    (
        ContrastPhase.HEPATOBILIARY,
        (
            r"\bhbp\b|\bhepato ?bil|\bhepatospez|\bepatobil|\b20 ?min",
            r"肝胆期|肝膽期|肝細胞相|肝細胞造影|간담도",
        ),
    ),
)
"""Words of series descriptions in English, German, French, Spanish, Italian, Portuguese, Dutch, Chinese,
Japanese and Korean. Not 'AP', which may be abdomen and pelvis."""

_NO_AGENT = frozenset(("none", "no", "non", "nein", "ninguno", "nessuno", "aucun", "geen", "n/a", "0"))

_CODED = {
    "PRE_CONTRAST": ContrastPhase.UNENHANCED,
    "ARTERIAL": ContrastPhase.ARTERIAL,
    "PORTAL_VENOUS": ContrastPhase.PORTAL_VENOUS,
    "DELAYED": ContrastPhase.DELAYED,
}
"""PS3.3 C.7.6.16.2.14; VENOUS, DYNAMIC, IMMEDIATE and the like say nothing of the liver's phase."""

_SECONDS: tuple[tuple[ContrastPhase, float, float], ...] = (
    (ContrastPhase.ARTERIAL, 30.0, 50.0),
    (ContrastPhase.PORTAL_VENOUS, 60.0, 80.0),
    (ContrastPhase.DELAYED, 120.0, 300.0),
    (ContrastPhase.HEPATOBILIARY, 1000.0, 1800.0),
)
"""From the start of injection to acquisition. In between nothing is stated."""

_LONGEST = timedelta(hours=1)
"""A longer time from injection is a clock that was not set, or another injection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStatement:
    """What is stated of the contrast phase."""

    phase: ContrastPhase | None
    sources: tuple[str, ...] = ()
    """What states it, in words that follow 'by'."""
    confidence: PhaseConfidence = PhaseConfidence.NONE
    is_contradictory: bool = False
    """Whether sources name different phases."""


def states_contrast_agent(image: Dataset) -> bool:
    """Whether the header names a contrast agent; 'none' is a name that operators enter for no agent."""
    named = text(image, "ContrastBolusAgent").casefold()
    return (bool(named) and named not in _NO_AGENT) or bool(image.get("ContrastBolusAgentSequence"))


def stated_phase(image: Dataset) -> PhaseStatement:
    """Return the contrast phase that the header of an image states.

    Words that say unenhanced beside a contrast agent that is named contradict each other.
    """
    found: list[tuple[str, ContrastPhase]] = []
    named = phases_named(text(image, "SeriesDescription"))
    if len(named) == 1:
        found.append(("the words of the series description", named[0]))
    coded = _CODED.get(text(image, "ContrastBolusAgentPhase").upper())
    if coded is not None:
        found.append(("Contrast/Bolus Agent Phase", coded))
    timed = _by_time(image)
    if timed is not None:
        found.append(("the time from injection", timed))
    phases = {phase for _, phase in found}
    is_contradictory = len(phases) > 1 or (
        phases == {ContrastPhase.UNENHANCED} and coded is None and states_contrast_agent(image)
    )
    if is_contradictory or not phases:
        return PhaseStatement(phase=None, is_contradictory=is_contradictory)
    return PhaseStatement(
        phase=phases.pop(),
        sources=tuple(source for source, _ in found),
        confidence=PhaseConfidence.MODERATE if len(found) > 1 else PhaseConfidence.LOW,
    )


def phases_named(description: str) -> tuple[ContrastPhase, ...]:
    """Return every phase that words of a series description name."""
    decomposed = unicodedata.normalize("NFKD", description.casefold())
    # Recomposed, as Korean syllables fall apart too.
    plain = unicodedata.normalize(
        "NFC", "".join(each for each in decomposed if not unicodedata.combining(each))
    )
    words = _WITH_AND_WITHOUT.sub(" ", re.sub(r"[_\-,.;:()\[\]]+", " ", plain))
    return tuple(phase for phase, patterns in _PHASES if any(re.search(each, words) for each in patterns))


def _by_time(image: Dataset) -> ContrastPhase | None:
    """Return the phase by the time from injection to acquisition, where both can be believed."""
    start, series = text(image, "ContrastBolusStartTime"), text(image, "SeriesTime")
    acquired = _acquired_at(image)
    # Scanners copy the time of the series where nobody entered the injection.
    if acquired is None or not start or start.split(".")[0] == series.split(".")[0]:
        return None
    injected = _moment(f"{acquired:%Y%m%d}", start)
    if injected is None or not timedelta(0) < acquired - injected <= _LONGEST:
        return None
    seconds = (acquired - injected).total_seconds()
    return next((phase for phase, low, high in _SECONDS if low <= seconds <= high), None)


def _acquired_at(image: Dataset) -> datetime | None:
    stated = text(image, "AcquisitionDateTime")
    if stated:
        return _moment(stated[:8], stated[8:].split("+")[0].split("-")[0])
    return _moment(text(image, "AcquisitionDate"), text(image, "AcquisitionTime"))


def _moment(day: str, time: str) -> datetime | None:
    """Return DA and TM (PS3.5 6.2) as a moment; None for what is no full date and time to the second."""
    parts = re.fullmatch(r"(\d{8})(\d{6})(?:\.(\d{1,6}))?", day + time)
    if parts is None:
        return None
    try:
        whole = datetime.strptime(parts[1] + parts[2], "%Y%m%d%H%M%S")  # noqa: DTZ007  DICOM's has no zone
    except ValueError:
        return None
    return whole + timedelta(microseconds=int((parts[3] or "").ljust(6, "0")))
