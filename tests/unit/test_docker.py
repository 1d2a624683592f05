# SPDX-License-Identifier: Apache-2.0
"""The container files, checked without a container engine: against their standards and against our code."""

import fnmatch
import importlib.resources
import json
import re
import stat
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import sqlalchemy as sa
import yaml
from click.testing import CliRunner
from dockerfile_parse import DockerfileParser
from packaging.specifiers import SpecifierSet
from pydantic import BaseModel

from cds_service.auth import Authenticator, Unauthenticated
from cds_service.cli import hcc_cds
from cds_service.config import Config, load_config, parse_config
from cds_service.sections import is_loopback
from model.errors import ConfigError

OURS = ("listener", "worker", "web")
IN_CONTAINER = "/etc/hcc-cds/"

Service = dict[str, Any]


@pytest.fixture
def docker(repository: Path) -> Path:
    return repository / "docker"


@pytest.fixture
def compose(docker: Path) -> dict[str, Any]:
    return yaml.safe_load((docker / "compose.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def services(compose: dict[str, Any]) -> dict[str, Service]:
    return compose["services"]


@pytest.fixture
def config(docker: Path) -> Config:
    return load_config(docker / "hcc-cds.toml")


@pytest.fixture
def instructions(docker: Path) -> list[tuple[str, str]]:
    """Instructions of the Dockerfile with their values, in order."""
    with (docker / "Dockerfile").open("rb") as file:
        return [
            (each["instruction"], each["value"])
            for each in DockerfileParser(fileobj=file).structure
            if each["instruction"] != "COMMENT"
        ]


@pytest.fixture
def runtime(instructions: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Instructions of the stage that is shipped."""
    last = max(index for index, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[last:]


def with_examples(docker: Path) -> Config:
    """Return the settings with every example taken in: lines that begin with `#` and no space."""
    text = (docker / "hcc-cds.toml").read_text(encoding="utf-8")
    return parse_config(tomllib.loads(re.sub(r"^#(?=\S)", "", text, flags=re.MULTILINE)), relative_to=docker)


def command_run_by(arguments: list[str], docker: Path) -> str:
    """Return the command that our program runs with `arguments`; fail where it would refuse them.

    The settings are read from the file that the container would find at the path in `arguments`.
    """
    here = [each.replace(IN_CONTAINER, f"{docker}/") for each in arguments]
    asked = CliRunner().invoke(hcc_cds, [*here, "--help"], prog_name="hcc-cds")
    assert asked.exit_code == 0, asked.output
    usage = re.match(r"Usage: hcc-cds (\w+) \[OPTIONS\]$", asked.output, flags=re.MULTILINE)
    assert usage, asked.output
    return usage[1]


def config_path(arguments: list[str]) -> str:
    return arguments[arguments.index("--config") + 1]


def settings_named_in(text: str) -> set[str]:
    """Every `section.setting` in `text` whose section is one of ours."""
    sections = "|".join(Config.model_fields)
    return set(re.findall(rf"(?<![\w./-])(?:{sections})\.[a-z_]+\b(?![\w./(-])", text))


def is_setting(name: str) -> bool:
    section, key = name.split(".")
    settings = Config.model_fields[section].annotation
    assert isinstance(settings, type)
    assert issubclass(settings, BaseModel)
    return key in settings.model_fields


def bind_mounts(service: Service) -> dict[str, str]:
    """Files of the host by their path in the container."""
    parts = [each.split(":") for each in service.get("volumes", []) if each.startswith(".")]
    return {target: source for source, target, *_ in parts}


def named_volumes(service: Service) -> dict[str, str]:
    parts = [each.split(":") for each in service.get("volumes", []) if not each.startswith(".")]
    return {target: name for name, target, *_ in parts}


def seconds(duration: str) -> int:
    assert duration.endswith("s")
    return int(duration.removesuffix("s"))


# compose.yaml


def test_the_compose_file_is_valid_by_the_compose_specification(compose) -> None:
    schema = json.loads(
        (
            importlib.resources.files("check_jsonschema.builtin_schemas.vendor") / "compose-spec.json"
        ).read_text(encoding="utf-8")
    )

    jsonschema.Draft202012Validator(schema).validate(compose)

    compose["services"]["web"]["stop_grace_periode"] = "20s"
    assert not jsonschema.Draft202012Validator(schema).is_valid(compose)


def test_everything_that_the_compose_file_refers_to_is_declared(compose, services) -> None:
    for name, service in services.items():
        assert set(service.get("networks", [])) <= compose["networks"].keys(), name
        assert set(named_volumes(service).values()) <= compose["volumes"].keys(), name
        assert service.get("depends_on", {}).keys() <= services.keys(), name
        for other, dependency in service.get("depends_on", {}).items():
            if dependency["condition"] == "service_healthy":
                assert "test" in services[other]["healthcheck"], f"{name} waits for {other} for ever"


def test_each_of_our_services_runs_a_command_that_our_program_has(services, docker) -> None:

    commands = {name: command_run_by(services[name]["command"], docker) for name in OURS}

    assert commands == {"listener": "listen", "worker": "work", "web": "web"}
    with pytest.raises(AssertionError, match="No such command 'listne'"):
        command_run_by([*services["listener"]["command"][:-1], "listne"], docker)


def test_each_of_our_services_is_given_the_settings_that_its_command_names(services, docker) -> None:
    for name in OURS:
        mounted = bind_mounts(services[name])
        assert mounted[config_path(services[name]["command"])] == "./hcc-cds.toml"
    for service in services.values():
        for source in bind_mounts(service).values():
            assert (docker / source).is_file(), source


def test_our_services_share_one_archive_where_the_settings_say(services, config) -> None:
    volumes = {named_volumes(services[name])[str(config.site.data_dir)] for name in OURS}

    assert volumes == {"archive"}


def test_every_setting_named_in_the_container_files_and_their_page_exists(docker, repository) -> None:
    texts = [
        path.read_text(encoding="utf-8")
        for path in (
            docker / "Dockerfile",
            docker / "compose.yaml",
            docker / "hcc-cds.toml",
            repository / "docs" / "deployment.md",
        )
    ]

    named = set().union(*map(settings_named_in, texts))

    assert {"listen.peers", "web.issuers", "identity.identifier_systems"} <= named
    assert [each for each in sorted(named) if not is_setting(each)] == []


def test_ports_are_published_on_loopback_and_are_those_of_the_settings(services, config, docker) -> None:
    published = {name: service.get("ports", []) for name, service in services.items()}
    orthanc = json.loads((docker / "orthanc.json").read_text(encoding="utf-8"))

    assert published.pop("listener") == [f"127.0.0.1:{config.listen.port}:{config.listen.port}"]
    assert published.pop("web") == [f"127.0.0.1:{config.web.port}:{config.web.port}"]
    assert published.pop("orthanc") == [
        f"127.0.0.1:{port}:{port}" for port in (orthanc["DicomPort"], orthanc["HttpPort"])
    ]
    assert not any(published.values())


def test_no_service_may_more_than_it_needs(services) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("cap_add", []) == (["CHOWN"] if name == "credentials" else []), name
        assert service["restart"] == ("no" if name == "credentials" else "unless-stopped"), name
        assert "privileged" not in service, name


def test_a_stopped_service_has_time_to_end_what_is_under_way(services) -> None:
    from cds_service.cli import _STOP_GRACE_S

    for name in OURS:
        assert seconds(services[name]["stop_grace_period"]) >= _STOP_GRACE_S + 5


def test_only_our_services_reach_the_database_and_it_reaches_nothing_else(compose, services) -> None:
    on_it = {name for name, service in services.items() if "database" in service.get("networks", [])}

    assert on_it == {*OURS, "postgres"}
    assert services["postgres"]["networks"] == ["database"]
    assert compose["networks"]["database"] == {"internal": True}


def test_the_health_of_the_listener_is_asked_with_a_title_that_may_call(services, config) -> None:
    check = services["listener"]["healthcheck"]["test"]

    assert check[check.index("--calling-aet") + 1] in {each.ae_title for each in config.listen.peers}
    assert check[check.index("--called-aet") + 1] == config.listen.ae_title
    assert check[-1] == str(config.listen.port)


def test_no_service_holds_a_password(services) -> None:
    for name, service in services.items():
        for key, value in service.get("environment", {}).items():
            assert "PASS" not in key or value.startswith("/run/credentials/"), name


# hcc-cds.toml


def test_the_settings_are_known_and_their_examples_too(config, docker) -> None:
    examples = with_examples(docker)

    assert config.web.issuers == ()
    assert [each.jwks_path for each in examples.web.issuers] == [docker / "ehr-jwks.json"]
    assert [each.issuer for each in examples.identity.identifier_systems] == ["HOSPITAL"]
    assert examples.identity.default_issuer == "HOSPITAL"


def test_both_databases_are_the_postgresql_of_the_compose_file(config, services, docker) -> None:
    made = (docker / "create-database.sh").read_text(encoding="utf-8")

    for url in map(sa.make_url, (config.store_url, config.workflow_url)):
        assert url.get_backend_name() == "postgresql"
        assert url.password is None
        assert url.host in services
        assert f"CREATE ROLE {url.username} LOGIN" in made
        assert f"CREATE DATABASE {url.database} OWNER {url.username}" in made


def test_a_listener_that_the_network_reaches_names_who_may_call(config) -> None:
    assert not is_loopback(config.listen.host)
    assert "ORTHANC" in {each.ae_title for each in config.listen.peers}


def test_reports_go_to_the_orthanc_of_the_compose_file(config, docker, services) -> None:
    orthanc = json.loads((docker / "orthanc.json").read_text(encoding="utf-8"))

    (destination,) = config.deliver.destinations

    assert destination.host in services
    assert destination.port == orthanc["DicomPort"]
    assert destination.ae_title == orthanc["DicomAet"]


def test_nobody_is_let_in_until_an_ehr_is_named_with_its_keys(config, docker) -> None:
    class NeverAsked:
        def has(self, *_token: object) -> bool:
            raise AssertionError

    authenticator = Authenticator(config.web, NeverAsked(), report=lambda *_: None)
    # Header {"alg":"ES384","kid":"1","typ":"JWT"} and payload {"iss":"https://ehr.example.org"}.
    token = (
        "eyJhbGciOiJFUzM4NCIsImtpZCI6IjEiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2Voci5leGFtcGxlLm9yZyJ9.AA"
    )

    with pytest.raises(Unauthenticated) as refusal:
        authenticator.verify(f"Bearer {token}", endpoint_url=config.web.url, now=datetime.now(UTC))
    with pytest.raises(ConfigError, match=r"web\.issuers"):
        Authenticator(with_examples(docker).web, NeverAsked(), report=lambda *_: None)

    assert refusal.value.reason == "issuer"
    assert not config.web.development_without_jwt


# orthanc.json and its routing


def test_orthanc_knows_our_listener_and_routes_to_it(docker, services, config) -> None:
    orthanc = json.loads((docker / "orthanc.json").read_text(encoding="utf-8"))
    (name, ours), *others = orthanc["DicomModalities"].items()
    (script,) = orthanc["LuaScripts"]
    mounted = bind_mounts(services["orthanc"])

    assert not others
    assert (ours["AET"], ours["Port"]) == (config.listen.ae_title, config.listen.port)
    assert ours["Host"] in services
    assert services["orthanc"]["command"] == [
        next(target for target, source in mounted.items() if source == "./orthanc.json")
    ]
    assert f"RestApiPost('/modalities/{name}/store'," in (docker / mounted[script]).read_text(
        encoding="utf-8"
    )
    assert orthanc["StorageDirectory"] == orthanc["IndexDirectory"]
    assert named_volumes(services["orthanc"])[orthanc["StorageDirectory"]] == "pacs"


# make-credentials.sh


def test_passwords_are_made_once_and_are_for_one_reader_each(docker, tmp_path) -> None:
    me = f"{tmp_path.stat().st_uid}:{tmp_path.stat().st_gid}"
    command = ["sh", str(docker / "make-credentials.sh"), str(tmp_path), me, me]

    subprocess.run(command, check=True, timeout=20)
    first = {each.name: each.read_text() for each in tmp_path.iterdir()}
    subprocess.run(command, check=True, timeout=20)
    second = {each.name: each.read_text() for each in tmp_path.iterdir()}

    assert first == second
    assert first.keys() == {"superuser-password", "hcc-cds-password", "pgpass"}
    password = first["hcc-cds-password"].strip()
    assert re.fullmatch("[0-9a-f]{64}", password)
    assert first["superuser-password"].strip() != password
    # hostname:port:database:username:password (libpq, "The Password File")
    assert first["pgpass"] == f"postgres:5432:hcc_cds:hcc_cds:{password}\n"
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o400


def test_the_password_file_is_for_the_user_that_the_image_runs_as(docker, runtime) -> None:
    user = dict(runtime)["USER"]

    assert f"service_user=${{3:-{user}}}" in (docker / "make-credentials.sh").read_text(encoding="utf-8")


# Dockerfile


def test_the_image_has_no_compiler_because_it_is_made_in_two_stages(instructions, runtime) -> None:
    stages = [value for name, value in instructions if name == "FROM"]
    builder = instructions[: -len(runtime)]

    assert [each.split()[-1] for each in stages] == ["builder", "runtime"]
    assert any("gcc" in value for name, value in builder if name == "RUN")
    assert not any(word in value for name, value in runtime for word in ("gcc", "apt-get", "pip "))
    assert ("COPY", "--from=builder /opt/hcc-cds /opt/hcc-cds") in runtime


def test_the_image_installs_what_is_locked_and_nothing_for_development(instructions) -> None:
    installs = [value for name, value in instructions if name == "RUN" and value.startswith("uv ")]

    assert installs == [
        "uv sync --locked --no-dev --no-install-project",
        "uv sync --locked --no-dev --no-editable",
    ]


def test_the_image_has_a_python_that_the_project_supports(instructions, repository) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (image,) = [value for name, value in instructions if name == "ARG" and "PYTHON_IMAGE" in value]

    match = re.fullmatch(r"PYTHON_IMAGE=python:(\d+\.\d+)-slim-bookworm", image)

    assert match
    assert match[1] in SpecifierSet(project["requires-python"])
    assert f"Programming Language :: Python :: {match[1]}" in project["classifiers"]


def test_the_image_runs_our_program_as_a_user_without_rights(runtime, docker) -> None:
    values = dict(runtime)
    users = [value for name, value in runtime if name == "USER"]

    assert users == ["10001:10001"]
    assert json.loads(values["ENTRYPOINT"]) == ["hcc-cds"]
    assert command_run_by(json.loads(values["CMD"]), docker) == "serve"
    assert config_path(json.loads(values["CMD"])).startswith(IN_CONTAINER)


def test_the_image_tells_its_volume_and_ports_as_they_are_set(runtime, config) -> None:
    values = dict(runtime)

    assert values["VOLUME"] == str(config.site.data_dir)
    assert values["EXPOSE"].split() == [str(config.listen.port), str(config.web.port)]
    assert f"'127.0.0.1', {config.web.port}," in values["HEALTHCHECK"]
    assert "'/healthz'" in values["HEALTHCHECK"]


def test_all_of_our_packages_and_nothing_else_get_into_the_image(instructions, repository) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {
        each.split("/")[0] for each in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    }
    copied = {
        source
        for name, value in instructions
        if name == "COPY" and not value.startswith("--from")
        for source in value.split()[:-1]
    }
    ignored, *exceptions = [
        line
        for line in (repository / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#") and line != "**/__pycache__"
    ]

    assert packages <= copied
    assert all((repository / each).exists() for each in copied)
    # Everything is left out but what the Dockerfile copies: no data, no keys, no history.
    assert ignored == "*"
    assert {each.removeprefix("!") for each in exceptions} == copied
    assert not any(
        fnmatch.fnmatch(name, each[1:]) for name in (".git", "var", "tests") for each in exceptions
    )


# docs/deployment.md


def test_the_page_shows_commands_that_our_program_has(repository, docker) -> None:
    page = (repository / "docs" / "deployment.md").read_text(encoding="utf-8")

    commands = re.findall(r"^ExecStart=\S+/hcc-cds (.+)$", page, flags=re.MULTILINE)

    assert [command_run_by(each.split(), docker) for each in commands] == ["serve"]
    assert "docker compose --file docker/compose.yaml up" in page
    assert "not for clinical use" in page.lower()
