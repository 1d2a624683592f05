# SPDX-License-Identifier: Apache-2.0
"""Whether a study is whole: what the PACS holds beside what arrived, and what a model needs of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_listener.attributes import read_header, uid
from dicom_listener.instance import StoredInstance
from dicom_listener.pacs import FoundStudy, HeldInstance, HeldSeries, HeldStudy, Wanted
from dicom_listener.selection import ImageLimits, select
from model.domain import RejectionReason, Study
from model.errors import RejectedStudy

_MAY_STILL_COME = frozenset(
    (
        RejectionReason.NO_IMAGE,
        RejectionReason.LOCALIZER,
        RejectionReason.DERIVED,
        RejectionReason.GAP,
        RejectionReason.NO_LESION,
    )
)
"""Reasons that other objects of the study may take away; the rest stays whatever arrives."""

STUDIED_MODALITIES = frozenset(("CT", "MR", "SEG", "RTSTRUCT"))
"""Of images and outlines."""
_LONGEST_WHOLE_SERIES = 500
"""Instances of a series that is asked for as a whole; a longer one is asked for in parts."""

_IMAGE_MODALITIES = frozenset(("CT", "MR"))

_ABDOMEN = re.compile(r"abd|liver|hepat|leber|foie|h[ií]gado|fegato|\b(?:tap|cap|nap)\b", re.IGNORECASE)
"""Liver or abdomen in English, German, French, Spanish, Italian; chest, abdomen and pelvis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A study in the archive beside the same study in the PACS."""

    arrived: int
    """Of the expected instances."""
    expected: int | None
    """None where the PACS does not tell; never zero for that."""
    wanted: tuple[Wanted, ...] = ()
    """What is missing; series with images and outlines first."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is known to be missing."""
        return self.expected is None or self.arrived >= self.expected

    @property
    def in_words(self) -> str:
        """For the report, the card and the administrator."""
        if self.expected is None:
            return "the PACS does not tell how many instances the study has"
        return f"{self.arrived} of {self.expected} instances arrived"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """What we wrote of a study ourselves: stored back into it, it is not expected to come here."""

    series_instance_uids: frozenset[str] = frozenset()
    count: int = 0
    """How many objects these are."""


def our_series(reports: Iterable[Path]) -> frozenset[str]:
    """Return the series that our reports are in; a report whose file is gone names none."""
    return frozenset(
        uid(read_header(each, ("SeriesInstanceUID",)), "SeriesInstanceUID")
        for each in reports
        if each.exists()
    )


def in_doubt(held: HeldStudy, received: Sequence[StoredInstance], ours: Ours) -> tuple[HeldSeries, ...]:
    """Return the series of which something may be missing, so that their instances are asked for.

    Those of which the PACS counts more than arrived, or does not count.
    """
    here = Counter(each.series_instance_uid for each in received)
    return tuple(
        each
        for each in held.series
        if each.series_instance_uid not in ours.series_instance_uids
        and (each.instance_count is None or each.instance_count > here[each.series_instance_uid])
    )


def compare(
    study_instance_uid: str,
    held: HeldStudy,
    received: Sequence[StoredInstance],
    named: Mapping[str, Sequence[HeldInstance]],
    *,
    ours: Ours,
    taken_sop_classes: Collection[str],
) -> Comparison:
    """Return what of the PACS's study is missing here, series by series.

    A PACS that holds fewer than arrived makes no study incomplete. Where nothing is told of the
    series, the number of the whole study decides.

    Parameters
    ----------
    named
        By Series Instance UID, the instances of each series of `in_doubt`; none where the PACS did
        not name them. Then their number decides, and only for series of images and outlines: what is
        not named cannot be told from what we refuse.
    taken_sop_classes
        Others are refused when they come, and are not expected.
    """
    here = frozenset(each.sop_instance_uid for each in received)
    by_series = Counter(each.series_instance_uid for each in received)
    arrived = expected = 0
    is_told = False
    wanted: list[Wanted] = []
    for series in sorted(held.series, key=lambda each: each.modality not in STUDIED_MODALITIES):
        if series.series_instance_uid in ours.series_instance_uids:
            continue
        instances = named.get(series.series_instance_uid, ())
        if instances:
            due = {
                each.sop_instance_uid
                for each in instances
                if not each.sop_class_uid or each.sop_class_uid in taken_sop_classes
            }
            missing = due - here
            is_all = len(missing) == len(instances) <= _LONGEST_WHOLE_SERIES
            due_count, missing_count = len(due), len(missing)
        elif series.instance_count is not None:
            missing, is_all = set[str](), True
            missing_count = max(0, series.instance_count - by_series[series.series_instance_uid])
            if missing_count and series.modality not in STUDIED_MODALITIES:
                continue
            due_count = series.instance_count
        else:
            continue
        is_told = True
        expected += due_count
        arrived += due_count - missing_count
        if missing_count:
            wanted.append(
                Wanted(
                    study_instance_uid=study_instance_uid,
                    series_instance_uid=series.series_instance_uid,
                    sop_instance_uids=() if is_all else tuple(sorted(missing)),
                )
            )
    if is_told:
        if held.series_count is not None and held.series_count > len(held.series):
            # It counts series that it does not list, as while it still takes them in.
            expected = max(expected, (held.instance_count or 0) - ours.count)
        return Comparison(arrived=arrived, expected=expected, wanted=tuple(wanted))
    return _by_number_of_the_study(study_instance_uid, held, len(here), ours)


def _by_number_of_the_study(study_instance_uid: str, held: HeldStudy, here: int, ours: Ours) -> Comparison:
    """Return the comparison where the PACS tells nothing of single series."""
    if held.instance_count is None:
        return Comparison(arrived=here, expected=None)
    expected = max(0, held.instance_count - ours.count)
    return Comparison(
        arrived=min(here, expected),
        expected=expected,
        wanted=tuple(
            Wanted(study_instance_uid=study_instance_uid, series_instance_uid=each.series_instance_uid)
            for each in held.series
            if each.series_instance_uid not in ours.series_instance_uids and here < expected
        ),
    )


def what_lacks(instances: Sequence[StoredInstance], limits: ImageLimits, *, phase: str | None) -> str:
    """Return in words what a model needs of a study and does not find in it; '' when it is all there.

    Parameters
    ----------
    phase
        Contrast phase that the model was made for; None if it asks for none. A series that states
        no phase may be of any.
    """
    try:
        selection = select(instances, limits)
    except RejectedStudy as rejection:
        return rejection.reason.value if rejection.reason in _MAY_STILL_COME else ""
    stated = selection.series.acquisition.phase_hint
    return f"no outlined series of the {phase} phase" if phase and stated and stated != phase else ""


def priors_of(study: Study, found: Iterable[FoundStudy]) -> list[FoundStudy]:
    """Return the earlier studies that may be the patient's own CT or MR, the newest first.

    A study whose issuer or birth date contradicts is of another patient. One that does not say its
    modalities may have images; `shows_abdomen` is asked of each next.
    """
    if study.study_date is None:
        return []
    key = study.patient.key
    priors = [
        (date_of_prior, each)
        for each in found
        if (date_of_prior := each.identity.study_date) is not None
        and date_of_prior < study.study_date
        and each.study_instance_uid != study.study_instance_uid
        and each.identity.patient_id == key.patient_id
        and each.identity.issuer in ("", key.issuer)
        and not (
            each.identity.birth_date
            and study.patient.birth_date
            and each.identity.birth_date != study.patient.birth_date
        )
        and (not each.modalities or each.modalities & _IMAGE_MODALITIES)
    ]
    priors.sort(key=lambda each: (each[0], each[1].study_instance_uid), reverse=True)
    return [each for _, each in priors]


def shows_abdomen(description: str, series: Iterable[HeldSeries]) -> bool:
    """Whether a study has images whose words, or its own, name the liver or the abdomen."""
    images = [each for each in series if each.modality in _IMAGE_MODALITIES]
    return bool(images) and any(
        _ABDOMEN.search(each) for each in (description, *(one.text for one in images))
    )


def images_and_outlines(study_instance_uid: str, held: HeldStudy) -> tuple[Wanted, ...]:
    """Return the series of a study that may be measured, whole."""
    return tuple(
        Wanted(study_instance_uid=study_instance_uid, series_instance_uid=each.series_instance_uid)
        for each in held.series
        if each.modality in STUDIED_MODALITIES
    )
