# SPDX-License-Identifier: Apache-2.0
"""Settings: defaults, refusals, and a documentation that cannot fall behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from cds_service.config import Config, load_config, parse_config
from cds_service.settings_page import settings_page
from model.errors import ConfigError


def test_every_setting_has_a_default_so_that_nothing_needs_a_file() -> None:
    assert load_config(None) == Config()


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(
        '[site]\ndata_dir = "data"\n[model]\nbundle = "a.hccbundle"\n'
        '[[web.issuers]]\niss = "x"\njwks_path = "keys.json"\n'
    )

    config = load_config(tmp_path / "site.toml")

    assert config.archive_dir == tmp_path / "data" / "archive"
    assert config.model.bundle == tmp_path / "a.hccbundle"
    assert config.web.issuers[0].jwks_path == tmp_path / "keys.json"
    assert config.store_url == f"sqlite:///{tmp_path}/data/hcc-cds.sqlite"


def test_no_path_of_any_section_is_left_out(tmp_path: Path) -> None:
    pem = {name: f"{name}.pem" for name in ("certificate", "private_key", "ca_path", "token_path")}
    document = {
        "listen": {"tls": {"certificate": "c.pem", "private_key": "k.pem", "client_ca": "ca.pem"}},
        "complete": {"pacs": {"host": "pacs", "ae_title": "PACS", **pem}},
        "deliver": {
            "destinations": [{"name": "pacs", "host": "pacs", "ae_title": "PACS", **pem}],
            "fhir_servers": [
                {
                    "name": "ehr",
                    "base_url": "https://ehr.example/r4",
                    "client_id": "us",
                    "private_key": "jwk.json",
                    "ca_path": "ca.pem",
                }
            ],
        },
        "model": {"bundle": "a.hccbundle", "trusted_keys": ["key.pem"]},
        "web": {"issuers": [{"iss": "x", "jwks_path": "keys.json"}], "jwks_ca": "ca.pem"},
        "fetch": {"ca": "ca.pem"},
    }

    paths = list(_paths(parse_config(document, relative_to=tmp_path)))

    assert len(paths) == 19
    assert all(each.parent == tmp_path for each in paths)


def _paths(value: object) -> Iterator[Path]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _paths(getattr(value, name))
    elif isinstance(value, tuple):
        for each in value:
            yield from _paths(each)
    elif isinstance(value, Path):
        yield value


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"listen": {"prot": 104}}, "listen.prot"),
        ({"listen": {"port": 70000}}, "listen.port"),
        ({"listen": {"ae_title": "LONGER_THAN_SIXTEEN"}}, "listen.ae_title"),
        ({"assess": {"quiet_s": 0}}, "assess.quiet_s"),
        ({"web": {"host": "0.0.0.0", "development_without_jwt": True}}, "loopback"),
        (
            {"deliver": {"destinations": [{"name": "pacs"}]}},
            "deliver.destinations.0: Value error, c-store needs host",
        ),
    ],
)
def test_an_unknown_or_impossible_setting_is_refused_by_name(document: dict, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(document, relative_to=Path())

    assert named in str(caught.value)


@pytest.mark.parametrize("text", ["[site", "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.toml").write_text(text, encoding="latin-1")

    with pytest.raises(ConfigError):
        load_config(tmp_path / "bad.toml")


def test_a_missing_file_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml")


def _settings(kind: type[BaseModel]) -> list[tuple[str, str | None, object]]:
    return [(name, field.description, field) for name, field in kind.model_fields.items()]


def test_every_setting_is_described_and_stands_in_the_documentation(repository: Path) -> None:
    documented = (repository / "docs" / "settings.md").read_text(encoding="utf-8")

    assert documented == settings_page()
    for name, section in Config.model_fields.items():
        assert isinstance(section.annotation, type)
        assert issubclass(section.annotation, BaseModel)
        assert f"## `{name}`" in documented
        for setting, description, _ in _settings(section.annotation):
            assert description, f"{name}.{setting}"
            assert f"| `{setting}` |" in documented


def test_numbers_carry_their_unit_in_the_name() -> None:
    units = ("_per_minute", "_s", "_days", "_mm", "_mb", "_bytes", "_range")
    counts = (
        "port",
        "maximum_associations",
        "processes",
        "threads",
        "attempts",
        "commitment_attempts",
        "minimum_slices",
        "maximum_fetch_instances",
        "priors",
        "maximum_pages",
        "perturbations",
    )
    for section in Config.model_fields.values():
        assert isinstance(section.annotation, type)
        for setting, field in section.annotation.model_fields.items():
            if isinstance(field.default, (int, float)) and not isinstance(field.default, bool):
                assert setting.endswith((*units, "_voxels")) or setting in counts, setting
