# SPDX-License-Identifier: Apache-2.0
"""A PACS that is slow, refuses or answers nonsense, over a real association."""

import time
from collections.abc import Callable, Iterator
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom import DataElement, Dataset, config
from pynetdicom import AE, evt

from dicom_listener import dimse_pacs
from dicom_listener.dimse_pacs import DimseNode, DimsePacs
from dicom_listener.pacs import Budget, Wanted
from model.errors import PeerRefused, PeerUnavailable

STUDY, SERIES = "1.2.3", "1.2.3.1"
VERIFICATION = "1.2.840.10008.1.1"
FIND, MOVE = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2"


def answer(**values: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        vr = "UI" if keyword.endswith("UID") else "LO"
        ds.add(DataElement(keyword, vr, value, validation_mode=config.IGNORE))
    return ds


@pytest.fixture
def pacs() -> Iterator[Callable[..., DimsePacs]]:
    """Return a function that starts a PACS which answers as told, and returns how it is asked."""
    servers: list[Any] = []

    def start(
        *, find: Any = None, move: Any = None, models: tuple[str, ...] = (FIND, MOVE), timeout_s: float = 5
    ) -> DimsePacs:
        ae = AE(ae_title="PACS")
        for each in models:
            ae.add_supported_context(each)
        server = ae.start_server(
            ("127.0.0.1", 0),
            block=False,
            evt_handlers=[
                *([(evt.EVT_C_FIND, find)] if find else []),
                *([(evt.EVT_C_MOVE, move)] if move else []),
            ],
        )
        servers.append(server)
        return DimsePacs(
            DimseNode(
                host="127.0.0.1",
                port=server.socket.getsockname()[1],
                ae_title="PACS",
                calling_ae_title="HCC_CDS",
                retrieve_by_get=False,
                network_timeout_s=timeout_s,
            ),
            SimpleNamespace(),
            question_s=timeout_s,
        )

    yield start
    for each in servers:
        each.shutdown()


def test_answers_on_another_study_and_counts_that_are_none_say_nothing(
    pacs: Callable[..., DimsePacs],
) -> None:
    def find(event: Any) -> Iterator[tuple[int, Dataset]]:
        if event.identifier.QueryRetrieveLevel == "STUDY":
            yield 0xFF00, answer(StudyInstanceUID="9.9", NumberOfStudyRelatedInstances="7")
            yield 0xFF00, answer(StudyInstanceUID=STUDY, NumberOfStudyRelatedInstances="")
        else:
            yield 0xFF00, answer(StudyInstanceUID="9.9", SeriesInstanceUID="9.9.1", Modality="CT")
            yield (
                0xFF00,
                answer(SeriesInstanceUID=SERIES, Modality="ct", NumberOfSeriesRelatedInstances="many"),
            )
            yield 0xFF00, answer(StudyInstanceUID=STUDY, Modality="CT")

    held = pacs(find=find).study(STUDY)

    assert held is not None
    assert (held.instance_count, held.series_count) == (None, None)
    assert [(each.series_instance_uid, each.modality, each.instance_count) for each in held.series] == [
        (SERIES, "CT", None)
    ]


def test_a_study_that_only_others_answer_for_is_not_known(pacs: Callable[..., DimsePacs]) -> None:
    def find(_event: Any) -> Iterator[tuple[int, Dataset]]:
        yield 0xFF00, answer(StudyInstanceUID="9.9", NumberOfStudyRelatedInstances="7")

    assert pacs(find=find).study(STUDY) is None


def test_the_patient_is_asked_for_by_exact_number_and_others_that_come_are_left_out(
    pacs: Callable[..., DimsePacs],
) -> None:
    asked: list[Dataset] = []

    def find(event: Any) -> Iterator[tuple[int, Dataset]]:
        asked.append(event.identifier)
        for number, patient_id in enumerate(("42", "421")):
            yield 0xFF00, answer(StudyInstanceUID=f"1.{number}", PatientID=patient_id, StudyDate="20260101")

    (found,) = pacs(find=find).studies_of("42", before=date(2026, 5, 1))

    assert found.study_instance_uid == "1.0"
    assert pacs(find=find).studies_of("4*", before=date(2026, 5, 1)) == ()
    assert len(asked) == 1, "a wildcard would find other patients"
    assert (asked[0].PatientID, asked[0].StudyDate) == ("42", "-20260501")


def test_an_answer_without_end_is_broken_off(
    pacs: Callable[..., DimsePacs], monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(_event: Any) -> Iterator[tuple[int, Dataset]]:
        for number in range(10_000):
            yield 0xFF00, answer(StudyInstanceUID=f"1.{number}")

    monkeypatch.setattr(dimse_pacs, "_MOST_ANSWERS", 20)

    with pytest.raises(PeerUnavailable, match="without end"):
        pacs(find=find).study(STUDY)


def test_a_pacs_that_is_silent_or_slow_is_not_waited_for(pacs: Callable[..., DimsePacs]) -> None:
    def silent(_event: Any) -> Iterator[tuple[int, Dataset]]:
        time.sleep(1.5)
        yield 0x0000, None

    def slow(_event: Any) -> Iterator[tuple[int, Dataset]]:
        for number in range(100):
            time.sleep(0.1)
            yield 0xFF00, answer(StudyInstanceUID=f"1.{number}")

    begun = time.monotonic()
    with pytest.raises(PeerUnavailable, match="does not answer"):
        pacs(find=silent, timeout_s=0.5).study(STUDY)
    with pytest.raises(PeerUnavailable):
        pacs(find=slow, timeout_s=0.5).study(STUDY)

    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("status", [0xA700, 0xC001, 0xFE00])
def test_a_failed_question_is_one_for_later(pacs: Callable[..., DimsePacs], status: int) -> None:
    def find(_event: Any) -> Iterator[tuple[int, None]]:
        yield status, None

    with pytest.raises(PeerUnavailable, match=f"0x{status:04X}"):
        pacs(find=find).study(STUDY)


def test_a_pacs_without_query_retrieve_refuses(pacs: Callable[..., DimsePacs]) -> None:
    with pytest.raises(PeerRefused, match="Query/Retrieve"):
        pacs(models=(VERIFICATION,)).study(STUDY)


def test_a_pacs_that_does_not_know_our_ae_title_refuses_to_move(pacs: Callable[..., DimsePacs]) -> None:
    def move(_event: Any) -> Iterator[Any]:
        yield None, None

    wanted = Wanted(study_instance_uid=STUDY, series_instance_uid=SERIES)

    with pytest.raises(PeerRefused, match="destination of C-MOVE"):
        pacs(move=move).fetch(wanted, Budget(seconds=5, maximum_bytes=1))


def test_instances_are_asked_for_by_a_list_of_uids(pacs: Callable[..., DimsePacs]) -> None:
    asked: list[Dataset] = []

    def move(event: Any) -> Iterator[Any]:
        asked.append(event.identifier)
        yield None, None

    wanted = Wanted(
        study_instance_uid=STUDY, series_instance_uid=SERIES, sop_instance_uids=("1.2.3.1.1", "1.2.3.1.2")
    )

    with pytest.raises(PeerRefused):
        pacs(move=move).fetch(wanted, Budget(seconds=5, maximum_bytes=1))

    assert asked[0].QueryRetrieveLevel == "IMAGE"
    assert list(asked[0].SOPInstanceUID) == ["1.2.3.1.1", "1.2.3.1.2"]
