# SPDX-License-Identifier: Apache-2.0
"""Who may open an association."""

import ipaddress
from pathlib import Path

import pytest

from cds_service.config import parse_config
from dicom_listener.access import APPLICATION_CONTEXT, Access, CallingPeer, Rejection
from model.errors import ConfigError

PACS = CallingPeer(
    ae_title="PACS",
    networks=(ipaddress.ip_network("10.1.2.0/24"), ipaddress.ip_network("fd00::/64")),
)


def rejection(
    *peers: CallingPeer, called: str = "HCC_CDS", calling: str = "PACS", address: str
) -> Rejection | None:
    return Access(ae_title="HCC_CDS", peers=peers).rejection(
        called_ae_title=called,
        calling_ae_title=calling,
        address=address,
        application_context=APPLICATION_CONTEXT,
    )


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "fd00::1%eth0"])
def test_a_listed_peer_may_call_from_its_networks(address: str) -> None:
    assert rejection(PACS, address=address) is None


def test_a_listed_title_from_elsewhere_is_rejected() -> None:
    assert rejection(PACS, address="10.1.3.3") is Rejection.CALLING_ADDRESS


def test_a_title_that_is_not_listed_is_rejected() -> None:
    assert rejection(PACS, calling="PACS2", address="10.1.2.3") is Rejection.CALLING_AE_TITLE


def test_a_call_for_somebody_else_is_rejected() -> None:
    assert rejection(PACS, called="OTHER", address="10.1.2.3") is Rejection.CALLED_AE_TITLE


@pytest.mark.parametrize(("address", "admitted"), [("127.0.0.1", True), ("::1", True), ("10.1.2.3", False)])
def test_without_peers_only_this_machine_may_call(address: str, *, admitted: bool) -> None:
    assert (rejection(address=address) is None) is admitted


def test_another_application_context_is_rejected() -> None:
    answer = Access(ae_title="HCC_CDS", peers=()).rejection(
        called_ae_title="HCC_CDS", calling_ae_title="PACS", address="127.0.0.1", application_context="1.2.3"
    )

    assert answer is Rejection.APPLICATION_CONTEXT


def test_each_rejection_has_a_reason_of_its_source() -> None:
    allowed = {1: {1, 2, 3, 7}, 2: {1, 2}, 3: {1, 2}}  # PS3.8 Table 9-21

    assert all(each.result in (1, 2) and each.reason in allowed[each.source] for each in Rejection)


@pytest.mark.parametrize(
    "listen",
    [
        {"peers": [{"ae_title": "PACS"}]},
        {"peers": [{"ae_title": "PACS", "networks": []}]},
        {"peers": [{"ae_title": "PACS", "networks": ["10.1.2.300"]}]},
        {"tls": {"certificate": "cert.pem"}},
        {"tls": {"client_ca": "ca.pem"}},
    ],
)
def test_settings_that_leave_a_door_open_are_refused(listen: dict) -> None:
    with pytest.raises(ConfigError):
        parse_config({"listen": listen}, relative_to=Path())


def test_certificates_are_looked_for_beside_the_settings() -> None:
    tls = {"certificate": "cert.pem", "private_key": "key.pem"}

    config = parse_config({"listen": {"tls": tls}}, relative_to=Path("/etc/site"))

    assert config.listen.tls.certificate == Path("/etc/site/cert.pem")
    assert config.listen.tls.client_ca is None
