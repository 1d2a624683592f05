# SPDX-License-Identifier: Apache-2.0
"""Each look at a study that waits to become whole: a small PACS on real associations, our own clock."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from pydicom import Dataset, dcmread
from pynetdicom import AE, evt

from cds_service.build import Shared
from cds_service.completing import Completing
from cds_service.config import parse_config
from cds_service.store import Store
from dicom_listener.archive import Archive
from dicom_listener.series import instance_at

FIND, GET = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3"
STUDY = "1.2.3"
_KEYS = {
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}


class SmallPacs:
    """Holds data sets; answers C-FIND and C-GET about them."""

    def __init__(self) -> None:
        self.held: list[Dataset] = []
        self.gives = True
        self.questions = 0
        self.fetches: list[Dataset] = []
        self.holding = threading.Event()
        self.holding.set()
        ae = AE(ae_title="PACS")
        for model in (FIND, GET):
            ae.add_supported_context(model)
        for each in ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.66.4"):
            ae.add_supported_context(each, scu_role=True, scp_role=True)
        self.server = ae.start_server(
            ("127.0.0.1", 0),
            block=False,
            evt_handlers=[(evt.EVT_C_FIND, self.find), (evt.EVT_C_GET, self.get)],
        )

        self.port = int(self.server.socket.getsockname()[1])
        self.is_up = True

    def go_down(self) -> None:
        if self.is_up:
            self.server.shutdown()
        self.is_up = False

    def matching(self, asked: Dataset) -> list[Dataset]:
        found = self.held
        for keyword in _KEYS.values():
            wanted = asked.get(keyword)
            if wanted:
                wanted = [wanted] if isinstance(wanted, str) else list(wanted)
                found = [each for each in found if each[keyword].value in wanted]
        if asked.get("PatientID"):
            found = [each for each in found if each.PatientID == asked.PatientID]
        return found

    def find(self, event: Any) -> Iterator[tuple[int, Dataset]]:
        self.questions += 1
        asked = event.identifier
        level = asked.QueryRetrieveLevel
        groups: dict[str, list[Dataset]] = {}
        for each in self.matching(asked):
            groups.setdefault(str(each[_KEYS[level]].value), []).append(each)
        for uid, members in groups.items():
            answer = Dataset()
            setattr(answer, _KEYS[level], uid)
            for keyword in ("PatientID", "PatientBirthDate", "StudyDate", "StudyDescription", "Modality"):
                setattr(answer, keyword, members[0].get(keyword, ""))
            answer.SOPClassUID = members[0].SOPClassUID
            answer.NumberOfStudyRelatedInstances = answer.NumberOfSeriesRelatedInstances = len(members)
            yield 0xFF00, answer

    def get(self, event: Any) -> Iterator[Any]:
        self.fetches.append(event.identifier)
        self.holding.wait(10)
        found = self.matching(event.identifier) if self.gives else []
        yield len(found)
        for each in found:
            yield 0xFF00, each


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def pacs() -> Iterator[SmallPacs]:
    made = SmallPacs()
    yield made
    made.go_down()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(engine: sa.Engine, tmp_path: Path) -> Iterator[Store]:
    opened = Store(engine, tmp_path / "archive")
    yield opened
    opened.close()


@pytest.fixture
def completing(
    pacs: SmallPacs, clock: Clock, store: Store, tmp_path: Path, limits
) -> Callable[..., Completing]:
    """Return a function that makes what looks at studies; settings are added to those of the PACS."""
    archive = Archive(tmp_path / "archive")
    archive.prepare()

    def make(*, port: int | None = None, phase: str | None = None, **settings: Any) -> Completing:
        config = parse_config(
            {
                "listen": {"minimum_free_disk_mb": 0},
                "assess": {"quiet_s": 10},
                "complete": {
                    "first_delay_s": 10,
                    "maximum_delay_s": 40,
                    "maximum_wait_s": 100,
                    "pacs": {
                        "retrieve": "c-get",
                        "host": "127.0.0.1",
                        "port": port or pacs.port,
                        "ae_title": "PACS",
                        "network_timeout_s": 2,
                    },
                    **settings,
                },
                "identity": {"default_issuer": "HOSPITAL"},
            },
            relative_to=tmp_path,
        )
        silent = SimpleNamespace(info=_nothing, warning=_nothing, error=_nothing, debug=_nothing)
        shared = Shared(config=config, store=store, archive=archive, study_ref=lambda _uid: "ref", log=silent)
        return Completing(shared, limits=limits, phase=phase, now=clock)

    return make


def _nothing(*_: Any, **__: Any) -> None: ...


@pytest.fixture
def arrive(store: Store, clock: Clock, tmp_path: Path) -> Callable[..., None]:
    """Return a function that makes files arrive as through the listener; then they are quiet."""

    def take(paths: list[Path], *, quiet_s: float = 11) -> None:
        for each in paths:
            there = tmp_path / "archive" / "received" / f"{dcmread(each).SOPInstanceUID}.dcm"
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(each.read_bytes())
            store.received.record_instance(instance_at(there), received_at=clock())
        clock.forward(quiet_s)

    return take


def in_pacs(pacs: SmallPacs, paths: list[Path]) -> None:
    pacs.held += [dcmread(each) for each in paths]


@pytest.fixture
def files(study) -> list[Path]:
    return [*study.images, study.add_segmentation()]


def test_a_study_is_looked_at_when_it_is_quiet_and_begins_when_its_counts_agree(
    completing, pacs, clock, arrive, files
) -> None:
    in_pacs(pacs, files)
    looks = completing()
    arrive(files, quiet_s=4)

    early = looks.look(STUDY, "a")
    unasked = pacs.questions
    clock.forward(6.5)
    begun = looks.look(STUDY, "a")

    assert (early["wait_s"], unasked) == (pytest.approx(6.0), 0)
    assert begun["wait_s"] == 0
    assert begun["revision"]["revision"] == 1
    assert looks.look(STUDY, "a") == begun, "killed before the step was kept, it gets the same again"
    assert looks.look(STUDY, "b")["revision"] is None
    assert pacs.fetches == []


def test_what_is_missing_is_fetched_and_the_study_is_quiet_once_more_before_it_begins(
    completing, pacs, clock, store, arrive, files
) -> None:
    in_pacs(pacs, files)
    looks = completing()
    arrive(files[:5])

    fetching = looks.look(STUDY, "a")
    clock.forward(11)
    begun = looks.look(STUDY, "a")

    assert fetching["wait_s"] == pytest.approx(10.0)
    assert len(store.received.instances(STUDY)) == len(files)
    assert [each.QueryRetrieveLevel for each in pacs.fetches] == ["IMAGE", "SERIES"]
    assert begun["revision"]["lacks"] == ""


def test_a_pacs_that_gives_nothing_is_asked_again_later_and_later_then_for_whole_series(
    completing, pacs, clock, store, arrive, files
) -> None:
    in_pacs(pacs, files)
    pacs.gives = False
    looks = completing()
    arrive(files[:5])
    waits = []
    for _ in range(3):
        waits.append(looks.look(STUDY, "a")["wait_s"])
        clock.forward(waits[-1])

    assert 5 <= waits[0] <= 10 <= waits[1] <= 20 <= waits[2] <= 40
    assert [each.QueryRetrieveLevel for each in pacs.fetches[:4]] == ["IMAGE", "SERIES", "SERIES", "SERIES"]
    assert store.completeness.reason(STUDY) == "5 of 13 instances arrived"


@pytest.mark.parametrize("policy", ["proceed", "reject", "wait"])
def test_after_the_longest_wait_the_policy_decides_and_says_how_much_arrived(
    completing, pacs, clock, arrive, files, policy
) -> None:
    in_pacs(pacs, files)
    pacs.gives = False
    looks = completing(when_incomplete=policy)
    arrive(files[:5])

    first = looks.look(STUDY, "a")
    clock.forward(101)
    last = looks.look(STUDY, "a")

    assert first["revision"] is None
    if policy == "wait":
        assert (last["revision"], last["wait_s"] > 0) == (None, True)
    else:
        assert last["revision"]["lacks"] == "5 of 13 instances arrived"
        assert last["incomplete"] == ("5 of 13 instances arrived" if policy == "reject" else "")


def test_after_proceeding_a_late_image_makes_the_pacs_be_asked_again_and_the_rest_come(
    completing, pacs, clock, store, arrive, files
) -> None:
    in_pacs(pacs, files)
    pacs.gives = False
    looks = completing(when_incomplete="proceed")
    arrive(files[:5])
    looks.look(STUDY, "a")
    clock.forward(101)
    proceeded = looks.look(STUDY, "a")
    asked = len(pacs.fetches)

    pacs.gives = True
    arrive(files[5:6])
    fetched = looks.look(STUDY, "b")
    clock.forward(fetched["wait_s"])
    whole = looks.look(STUDY, "b")

    assert proceeded["revision"]["lacks"] == "5 of 13 instances arrived"
    assert len(pacs.fetches) > asked
    assert fetched["revision"] is None
    assert len(store.received.instances(STUDY)) == len(files)
    assert (whole["revision"]["revision"], whole["revision"]["lacks"]) == (2, "")


@pytest.fixture
def went_on(completing, pacs, clock, arrive, files) -> Callable[..., Completing]:
    """Return a function after which a study went on, or was rejected, with 5 of 13 instances."""

    def go_on(policy: str = "proceed") -> Completing:
        in_pacs(pacs, files)
        pacs.gives = False
        looks = completing(when_incomplete=policy, later_looks_s=[3600, 86400])
        arrive(files[:5])
        looks.look(STUDY, "a")
        clock.forward(101)
        assert looks.look(STUDY, "a")["revision"]["lacks"] == "5 of 13 instances arrived"
        return looks

    return go_on


@pytest.mark.parametrize("policy", ["proceed", "reject"])
def test_what_reaches_the_pacs_late_is_fetched_by_a_later_look_though_nothing_arrives(
    went_on, pacs, clock, store, files, policy
) -> None:
    looks = went_on(policy)
    pacs.gives = True
    asked = pacs.questions

    clock.forward(3590)
    early, not_due = looks.look(STUDY, "b"), store.completeness.later_looks_due(now=clock())
    unasked = pacs.questions
    clock.forward(11)
    ((study, due_at),) = store.completeness.later_looks_due(now=clock())
    came = looks.look(STUDY, "c")
    clock.forward(came["wait_s"] + 1)
    whole = looks.look(STUDY, "c")

    assert (early["revision"], not_due, unasked) == (None, (), asked)
    assert (study, due_at <= clock()) == (STUDY, True)
    assert (came["revision"], came["wait_s"]) == (None, pytest.approx(10.0))
    assert len(store.received.instances(STUDY)) == len(files)
    assert (whole["revision"]["revision"], whole["revision"]["lacks"], whole["incomplete"]) == (2, "", "")
    assert store.completeness.later_look(STUDY) is None


def test_later_looks_that_find_nothing_end(went_on, pacs, clock, store) -> None:
    looks = went_on()
    since = clock()
    dues = []

    while (later := store.completeness.later_look(STUDY)) is not None:
        dues.append((later.due_at - since).total_seconds())
        clock.now = later.due_at
        answer = looks.look(STUDY, f"later {later.done}")
        assert (answer["revision"], answer["wait_s"]) == (None, 0)

    asked = pacs.questions
    clock.forward(1_000_000)
    assert looks.look(STUDY, "z")["revision"] is None
    assert dues == [3600, 86400]
    assert pacs.questions == asked
    assert store.completeness.reason(STUDY) is None


def test_a_study_rejected_while_the_pacs_was_away_is_assessed_when_it_is_back_and_counts_what_arrived(
    completing, pacs, clock, store, arrive, files, free_tcp_port
) -> None:
    in_pacs(pacs, files)
    away = completing(port=free_tcp_port, when_incomplete="reject")
    arrive(files)
    away.look(STUDY, "a")
    clock.forward(101)
    rejected = away.look(STUDY, "a")
    looks = completing(when_incomplete="reject")

    clock.forward(3601)
    whole = looks.look(STUDY, "b")
    store.completeness.look_no_later(STUDY)
    resumed = looks.look(STUDY, "b")
    clock.forward(1_000_000)

    assert rejected["incomplete"] == "the PACS could not be asked: the PACS cannot be reached"
    assert whole["revision"] == resumed["revision"], "killed before the step was kept, it gets the same again"
    assert (whole["revision"]["revision"], whole["revision"]["lacks"], whole["incomplete"]) == (2, "", "")
    assert looks.look(STUDY, "c")["revision"] is None


def test_an_outline_that_is_drawn_the_next_day_is_fetched_by_a_later_look(
    completing, pacs, clock, store, arrive, study
) -> None:
    in_pacs(pacs, study.images)
    looks = completing()
    arrive(study.images)
    looks.look(STUDY, "a")
    clock.forward(101)
    without = looks.look(STUDY, "a")
    clock.forward(3601)
    looks.look(STUDY, "b")

    in_pacs(pacs, [study.add_segmentation()])
    clock.forward(86400)
    came = looks.look(STUDY, "c")
    clock.forward(came["wait_s"] + 1)
    whole = looks.look(STUDY, "c")

    assert without["revision"]["revision"] == 1
    assert whole["revision"]["revision"] == 2
    assert store.completeness.later_look(STUDY) is None


def test_a_pacs_that_gives_a_little_at_a_later_look_is_waited_for_anew(
    went_on, pacs, clock, store, files
) -> None:
    looks = went_on()
    pacs.gives = True
    held, pacs.held = pacs.held, pacs.held[:8]
    missing = [each for each in held if each not in pacs.held]
    clock.forward(3601)

    came = looks.look(STUDY, "b")
    pacs.held, pacs.gives = [*pacs.held, *missing], False
    clock.forward(came["wait_s"] + 1)
    waiting = looks.look(STUDY, "b")
    clock.forward(101)
    over = looks.look(STUDY, "b")

    assert len(store.received.instances(STUDY)) == 8
    assert (waiting["revision"], waiting["wait_s"] > 0) == (None, True)
    assert (over["revision"]["revision"], over["revision"]["lacks"]) == (2, "8 of 13 instances arrived")
    assert store.completeness.later_look(STUDY).done == 0


def test_a_worker_that_is_killed_when_it_rejects_an_incomplete_study_rejects_it_all_the_same(
    completing, pacs, clock, arrive, files
) -> None:
    in_pacs(pacs, files)
    pacs.gives = False
    looks = completing(when_incomplete="reject")
    arrive(files[:5])
    looks.look(STUDY, "a")
    clock.forward(101)
    lost = looks.look(STUDY, "a")

    again = looks.look(STUDY, "a")

    assert again["revision"] == lost["revision"]
    assert again["incomplete"] == lost["incomplete"] == "5 of 13 instances arrived"


def test_a_received_file_that_is_gone_stops_no_look(completing, pacs, store, arrive, files) -> None:
    in_pacs(pacs, files)
    pacs.gives = False
    looks = completing(when_incomplete="proceed")
    arrive(files[:5])
    store.received.instances(STUDY)[0].path.unlink()

    answer = looks.look(STUDY, "a")

    assert answer["wait_s"] > 0
    assert pacs.fetches


def test_the_last_look_before_the_limit_comes_at_the_limit(completing, pacs, clock, arrive, files) -> None:
    in_pacs(pacs, files)
    pacs.gives = False
    looks = completing(first_delay_s=1000, maximum_delay_s=1000)
    arrive(files[:5])

    assert looks.look(STUDY, "a")["wait_s"] == pytest.approx(100.0, abs=1)


def test_a_pacs_that_is_away_or_does_not_know_the_study_is_waited_for_and_named(
    completing, pacs, clock, store, arrive, files
) -> None:
    arrive(files)

    unknown = completing().look(STUDY, "a")
    reason_unknown = store.completeness.reason(STUDY)
    clock.forward(unknown["wait_s"])
    pacs.go_down()
    away = completing().look(STUDY, "a")
    clock.forward(101)
    over = completing().look(STUDY, "a")

    assert reason_unknown == "the PACS could not be asked: the PACS does not know the study"
    assert away["wait_s"] > 0
    assert over["revision"]["lacks"] == "the PACS could not be asked: the PACS cannot be reached"


def test_a_study_without_an_outline_is_waited_for_and_then_left_to_the_selection(
    completing, pacs, clock, store, arrive, study
) -> None:
    in_pacs(pacs, study.images)
    looks = completing(when_incomplete="reject")
    arrive(study.images)

    waiting = looks.look(STUDY, "a")
    reason = store.completeness.reason(STUDY)
    clock.forward(101)
    over = looks.look(STUDY, "a")

    assert (waiting["revision"], reason) == (None, "IMG-SEG")
    assert over["revision"]["lacks"] == over["incomplete"] == ""


def test_a_study_that_lacks_too_much_is_not_fetched(completing, pacs, store, arrive, files) -> None:
    in_pacs(pacs, files)
    arrive(files[:5])

    completing(maximum_fetch_instances=7).look(STUDY, "a")

    assert pacs.fetches == []
    assert "maximum_fetch_instances" in store.completeness.reason(STUDY)


def test_two_workers_never_fetch_the_same_study_at_once(completing, pacs, arrive, files) -> None:
    in_pacs(pacs, files)
    arrive(files[:5])
    looks = completing()
    pacs.holding.clear()
    first = threading.Thread(target=looks.look, args=(STUDY, "a"))
    first.start()
    while not pacs.fetches:
        first.join(0.02)

    second = looks.look(STUDY, "b")
    fetches_meanwhile = len(pacs.fetches)
    pacs.holding.set()
    first.join(20)

    assert second["wait_s"] > 60
    assert fetches_meanwhile == 1


def test_the_newest_prior_is_fetched_once_and_fetches_none_itself(
    completing, pacs, store, arrive, new_study, tmp_path
) -> None:
    written = {}
    for uid, day in (("1.2.3", "20260102"), ("1.2.4", "20250101"), ("1.2.5", "20240101")):
        study = new_study(tmp_path / uid, uid=uid)
        study.add_images()
        for path in study.images:
            ds = dcmread(path)
            ds.StudyDate = day
            ds.StudyDescription = "CT LIVER"
            ds.save_as(path)
        written[uid] = study.images
        in_pacs(pacs, study.images)
    looks = completing(priors=1)
    arrive(written["1.2.3"])

    found = looks.prior("1.2.3", "a", 0)
    again = looks.prior("1.2.3", "b", 0)
    of_the_prior = looks.prior("1.2.4", "c", 0)

    assert found == again == {"wait_s": 0.0, "prior": "1.2.4"}
    assert of_the_prior == {"wait_s": 0.0, "prior": None}
    assert len(store.received.instances("1.2.4")) == 12
    assert store.received.instances("1.2.5") == ()
    assert len(pacs.fetches) == 1


def test_no_prior_is_looked_for_unless_it_is_asked_for(completing, pacs, arrive, files) -> None:
    in_pacs(pacs, files)
    arrive(files)

    assert completing().prior(STUDY, "a", 0) == {"wait_s": 0.0, "prior": None}
    assert completing().look(STUDY, "a")["prior"] is False
    assert completing(priors=1).look(STUDY, "a")["prior"] is True


def test_a_prior_of_a_pacs_that_is_away_is_asked_for_again_but_not_for_ever(
    completing, pacs, arrive, files
) -> None:
    arrive(files)
    pacs.go_down()
    looks = completing(priors=1)

    assert looks.prior(STUDY, "a", 0)["wait_s"] > 0
    assert looks.prior(STUDY, "a", 9) == {"wait_s": 0.0, "prior": None}
