# SPDX-License-Identifier: Apache-2.0
"""The DICOM Conformance Statement beside what the running listener negotiates."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.uid import MPEG2MPML, UID
from pynetdicom import AE, build_context, build_role

from cds_service.config import Config
from cds_service.conformance_page import conformance_page

_MODALITY_WORKLIST_FIND = UID("1.2.840.10008.5.1.4.31")
_STORAGE_COMMITMENT = UID("1.2.840.10008.1.20.1")


def rows(statement: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    below = statement.partition(f"{heading}\n")[2]
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


@pytest.fixture
def statement(repository: Path) -> str:
    return (repository / "docs" / "conformance.md").read_text(encoding="utf-8")


def accepted(port: int, contexts: list) -> Iterator[tuple[str, str]]:
    """Which of the proposed SOP classes and syntaxes a listener accepts, 128 contexts at a time."""
    for start in range(0, len(contexts), 128):
        some = contexts[start : start + 128]
        assoc = AE(ae_title="TEST").associate("127.0.0.1", port, contexts=some, ae_title="HCC_CDS")
        assert assoc.is_established or assoc.rejected_contexts
        for each in assoc.accepted_contexts:
            yield str(each.abstract_syntax), str(each.transfer_syntax[0])
        if assoc.is_established:
            assoc.release()


def test_the_documented_statement_is_that_of_the_software(statement: str) -> None:
    assert statement == conformance_page(Config())


def test_the_listener_accepts_what_its_statement_lists_and_nothing_else(
    installation: Callable, statement: str
) -> None:
    sop_classes = [row[1] for row in rows(statement, "### 3.2 Presentation contexts")]
    storage = [each for each in sop_classes if "5.1.4" in each]
    syntaxes = [row[1] for row in rows(statement, "### 3.3 Transfer syntaxes")]
    site = installation()
    site.start("listen")
    proposed = [(sop_class, syntax) for sop_class in storage for syntax in (*syntaxes, MPEG2MPML)]
    strange = [(_MODALITY_WORKLIST_FIND, syntaxes[0]), ("1.2.840.10008.5.1.4.1.2.2.1", syntaxes[0])]

    found = set(accepted(site.dicom_port, [build_context(*each) for each in (*strange, *proposed)]))

    assert len(storage) > 100
    assert found == {(sop_class, syntax) for sop_class in storage for syntax in syntaxes}


def test_of_several_syntaxes_the_first_of_the_table_is_chosen(installation: Callable, statement: str) -> None:
    syntaxes = [row[1] for row in rows(statement, "### 3.3 Transfer syntaxes")]
    site = installation()
    site.start("listen")
    image = "1.2.840.10008.5.1.4.1.1.2"

    chosen = [
        dict(accepted(site.dicom_port, [build_context(image, list(reversed(syntaxes[start:])))]))[image]
        for start in range(len(syntaxes))
    ]

    assert chosen == syntaxes


def test_storage_commitment_is_negotiated_in_both_roles(installation: Callable) -> None:
    site = installation()
    site.start("listen")
    ae = AE(ae_title="TEST")
    ae.add_requested_context(_STORAGE_COMMITMENT)

    assoc = ae.associate(
        "127.0.0.1",
        site.dicom_port,
        ae_title="HCC_CDS",
        ext_neg=[build_role(_STORAGE_COMMITMENT, scu_role=True, scp_role=True)],
    )

    (context,) = assoc.accepted_contexts
    assert (context.as_scu, context.as_scp) == (True, True)
    assoc.release()


def test_a_rejection_of_the_table_is_what_a_peer_gets(installation: Callable, statement: str) -> None:
    documented = {
        tuple(row[:3])
        for row in rows(statement, "An association is rejected (PS3.8 9.3.4) for these reasons:")
    }
    site = installation()
    site.start("listen")

    assoc = AE(ae_title="TEST").associate(
        "127.0.0.1", site.dicom_port, contexts=[build_context("1.2.840.10008.1.1")], ae_title="ANOTHER"
    )

    answer = assoc.acceptor.primitive
    said = (str(answer.result), str(answer.result_source), str(answer.diagnostic))
    assert assoc.is_rejected
    assert said in documented
