# SPDX-License-Identifier: Apache-2.0
"""What several associations bring at once is recorded in one transaction, and each gets its own answer."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from cds_service.store import Recorded, Store
from dicom_listener.instance import StoredInstance
from model.domain import derived_uid

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def commits() -> list[float]:
    return []


@pytest.fixture
def store(engine: sa.Engine, tmp_path: Path, commits: list[float]) -> Iterator[Store]:
    sa.event.listen(engine, "commit", lambda _connection: commits.append(time.monotonic()))
    opened = Store(engine, tmp_path)
    yield opened
    opened.close()


def instance(tmp_path: Path, name: str, *, sha256: str = "aa") -> StoredInstance:
    return StoredInstance(
        study_instance_uid=derived_uid("study"),
        series_instance_uid=derived_uid("series"),
        sop_instance_uid=derived_uid(name),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CT",
        path=tmp_path / "received" / name,
        sha256=sha256,
    )


@pytest.fixture
def record_at_once(store: Store) -> Callable[[list[StoredInstance]], list[Recorded | type[ValueError]]]:
    """Return a function that records instances while another transaction has its turn."""

    def record(instances: list[StoredInstance]) -> list[Recorded | type[ValueError]]:
        answers: dict[int, Recorded | type[ValueError]] = {}

        def one(number: int) -> None:
            try:
                answers[number] = store.received.record_instance(instances[number], received_at=NOW)
            except ValueError as error:
                answers[number] = type(error)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(len(instances))]
        with store.received._turn:
            for each in threads:
                each.start()
            deadline = time.monotonic() + 20
            while len(store.received._waiting) < len(instances) and time.monotonic() < deadline:
                time.sleep(0.01)
        for each in threads:
            each.join(20)
        return [answers[number] for number in range(len(instances))]

    return record


def test_instances_that_come_at_once_share_a_transaction(
    store: Store, commits: list[float], tmp_path: Path, record_at_once: Callable
) -> None:
    instances = [instance(tmp_path, str(number)) for number in range(8)]
    commits.clear()

    answers = record_at_once(instances)

    assert answers == [Recorded.NEW] * 8
    assert len(commits) == 1
    assert set(store.received.instances(derived_uid("study"))) == set(instances)


def test_the_same_and_another_of_one_uid_at_once_are_told_apart(
    store: Store, tmp_path: Path, record_at_once: Callable
) -> None:
    first, other = instance(tmp_path, "a"), instance(tmp_path, "a", sha256="bb")

    answers = record_at_once([first, first, other])

    assert sorted(answers) in (
        sorted([Recorded.NEW, Recorded.SAME, Recorded.DIFFERENT]),
        sorted([Recorded.NEW, Recorded.DIFFERENT, Recorded.DIFFERENT]),
    )
    assert len(store.received.instances(derived_uid("study"))) == 1


def test_an_instance_that_cannot_be_recorded_takes_no_other_with_it(
    store: Store, tmp_path: Path, record_at_once: Callable
) -> None:
    good = [instance(tmp_path, str(number)) for number in range(3)]
    outside = replace(instance(tmp_path, "outside"), path=Path("/elsewhere/file"))

    answers = record_at_once([good[0], outside, *good[1:]])

    assert answers == [Recorded.NEW, ValueError, Recorded.NEW, Recorded.NEW]
    assert set(store.received.instances(derived_uid("study"))) == set(good)
