# SPDX-License-Identifier: Apache-2.0
"""One command, `hcc-cds`."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click

from cds_service.build import CurrentOutcomes, build_shared
from cds_service.cohort_commands import extract, stability
from cds_service.config import Config, load_config
from cds_service.logs import configure_logs
from model.errors import ConfigError, HccCdsError

_STOP_GRACE_S = 10.0


@click.group()
@click.version_option(package_name="hcc-cds")
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML file of settings; without it, every default.",
)
@click.option(
    "--until-stdin-closes", is_flag=True, hidden=True, help="End with the process that holds stdin."
)
@click.pass_context
def hcc_cds(context: click.Context, config_path: Path | None, *, until_stdin_closes: bool) -> None:
    """Join what a liver scan shows to what the record says. Not for clinical use."""
    context.obj = load_config(config_path)
    context.meta["config_arguments"] = ["--config", str(config_path)] if config_path else []
    if until_stdin_closes:
        threading.Thread(target=_end_with_stdin, daemon=True).start()


@hcc_cds.command()
@click.pass_context
def serve(context: click.Context) -> None:
    """Run listener, worker and web together; one that dies is started again."""
    from cds_service.receiving import build_scp
    from cds_service.serve import Supervisor, bind, listeners

    config: Config = context.obj
    shared = build_shared(config, "serve")  # migrates once, and fails here rather than three times
    build_scp(shared)
    listening = bind(config.listen.host, config.listen.port)
    shared.log.info(
        "starting",
        address=f"{config.listen.ae_title}@{config.listen.host}:{config.listen.port} {config.web.url}",
    )
    sys.exit(
        Supervisor(
            [*context.meta["config_arguments"], "--until-stdin-closes"],
            processes={
                "work": ["work"],
                **listeners(config.listen.processes, listening),
                "web": ["web"],
                **({"stow": ["stow"]} if config.stow.enabled else {}),
            },
            listening=listening,
            stop_grace_s=3 * _STOP_GRACE_S,
            log=shared.log,
        ).run()
    )


@hcc_cds.command()
@click.option("--socket-fd", type=int, hidden=True, help="A listening socket that the caller passes on.")
@click.pass_obj
def listen(config: Config, socket_fd: int | None) -> None:
    """Run one DICOM listener alone."""
    from cds_service.receiving import build_scp

    shared = build_shared(config, "listen")
    scp = build_scp(shared)
    stop = _stop_event()
    try:
        scp.start(None if socket_fd is None else socket.socket(fileno=socket_fd))
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {config.listen.host}:{config.listen.port}: {error.strerror}"
        ) from error
    shared.log.info("listening", address=config.listen.host, port=scp.port)
    stop.wait()
    scp.stop(grace_s=_STOP_GRACE_S)
    shared.log.info("stopped")


@hcc_cds.command()
@click.pass_obj
def work(config: Config) -> None:
    """Run the worker alone: measures, scores, reports, delivers."""
    from cds_service.working import run_worker

    run_worker(config, stop=_stop_event(), grace_s=_STOP_GRACE_S)


@hcc_cds.command()
@click.pass_obj
def web(config: Config) -> None:
    """Run the CDS Hooks service alone."""
    from flask import Flask

    from cds_service.administration import administration_page
    from cds_service.app import create_app
    from cds_service.calls import call_records
    from cds_service.web import WebServer

    log = build_shared(config, "web").log

    def make_app() -> Flask:
        shared = build_shared(config, "web")
        app = create_app(
            config,
            outcomes=CurrentOutcomes(shared.store.assessments.current, config.model.suspended),
            seen_tokens=shared.store.tokens,
            records=call_records(shared.store, shared.study_ref, software_version=version("hcc-cds")),
            now=lambda: datetime.now(UTC),
            log=shared.log,
        )
        administration = administration_page(
            config.administration,
            destinations=config.deliver.names,
            store=shared.store,
            study_ref=shared.study_ref,
            now=lambda: datetime.now(UTC),
            log=shared.log,
        )
        if administration is not None:
            app.register_blueprint(administration)
        return app

    log.info("answering", address=config.web.host, port=config.web.port)
    WebServer(config.web, make_app).run()


@hcc_cds.command()
@click.pass_obj
def stow(config: Config) -> None:
    """Run the STOW-RS service alone."""
    from flask import Flask

    from cds_service.receiving import build_intake, build_timer
    from cds_service.stow import create_stow_app
    from cds_service.web import WebServer

    first = build_shared(config, "stow")
    first.archive.prepare()

    def make_app() -> Flask:
        shared = build_shared(config, "stow")
        return create_stow_app(
            config.stow, build_intake(shared), touched=build_timer(shared).touched, log=shared.log
        )

    first.log.info("answering", address=config.stow.host, port=config.stow.port)
    WebServer(config.stow, make_app).run()


@hcc_cds.command()
@click.option("--destination", metavar="NAME", help="Only reports for this one; otherwise for all.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    help="With --destination, which was set up later: also every current result that was published on this "
    "day (UTC) or later and was never meant for it.",
)
@click.pass_obj
def redeliver(config: Config, destination: str | None, since: datetime | None) -> None:
    """Send again the reports that were put aside; the running worker does it within seconds."""
    from cds_service.reporting import Reporting

    if destination is not None and destination not in config.deliver.names:
        raise ConfigError(f"deliver has no destination of the name {destination}")
    if since is not None and destination is None:
        raise click.UsageError("--since needs --destination")
    shared = build_shared(config, "redeliver")
    count = shared.store.outbox.revive(now=datetime.now(UTC), destination=destination)
    click.echo(f"{count} reports are back in the outbox")
    if destination is not None and since is not None:
        count = Reporting(shared).queue_older(destination, since=since.replace(tzinfo=UTC))
        click.echo(f"{count} older reports are in the outbox for {destination}")


@hcc_cds.command()
@click.option("--password", prompt=True, hide_input=True, confirmation_prompt=True, help="Asked for.")
def hash_password(password: str) -> None:
    """Print the hash of a password, for `administration.password_hash`."""
    from werkzeug.security import generate_password_hash

    click.echo(generate_password_hash(password))


@hcc_cds.command("explain")
@click.argument("study_instance_uid")
@click.option("--identifying", is_flag=True, help="Also UIDs, the Patient ID and the descriptions of series.")
@click.pass_obj
def explain_study(config: Config, study_instance_uid: str, *, identifying: bool) -> None:
    """Tell what would become of a stored study, and why; nothing is kept or sent.

    Exit code 0: it would be measured. 2: it would be rejected. 3: nothing of it is stored.
    """
    from cds_service.explaining import explain, waiting
    from cds_service.models import load_configured_bundle

    store = build_shared(config, "explain").store
    instances = store.received.instances(study_instance_uid)
    if not instances:
        click.echo("Nothing of this study is stored.", err=True)
        sys.exit(3)
    explanation = explain(
        instances,
        config,
        load_configured_bundle(config),
        identifying=identifying,
        disputed=store.received.is_disputed(study_instance_uid),
    )
    click.echo("\n".join((*explanation.lines, *waiting(store.completeness, study_instance_uid))))
    if not explanation.is_measured:
        sys.exit(2)


@hcc_cds.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("var/demo"),
    show_default=True,
    help="Made, or emptied if a demonstration made it.",
)
def demo(folder: Path) -> None:
    """Send a made-up study through the real service and show report and card."""
    from cds_service.demo.run import run_demo

    configure_logs(level="error", process="demo")
    run_demo(folder, click.echo)


@hcc_cds.command()
@click.option("--check", type=click.Path(path_type=Path), help="Fail unless this file says the same.")
def settings(check: Path | None) -> None:
    """Print every setting with its default, as Markdown."""
    from cds_service.settings_page import settings_page

    page = settings_page()
    if check is None:
        click.echo(page, nl=False)
    elif not check.exists() or check.read_text(encoding="utf-8") != page:
        raise ConfigError(f"{check} is not what the settings are; run `make format`")


@hcc_cds.command()
@click.option("--check", type=click.Path(path_type=Path), help="Fail unless this file says the same.")
@click.pass_obj
def rules(config: Config, check: Path | None) -> None:
    """Print the rule book of this installation, as Markdown, to be signed by clinicians."""
    from cds_service.rules_page import rules_page

    page = rules_page(config.rules.book(), config.record.windows())
    if check is None:
        click.echo(page, nl=False)
    elif not check.exists() or check.read_text(encoding="utf-8") != page:
        raise ConfigError(f"{check} is not what the rules are; run `make format`")


@hcc_cds.command()
@click.option("--check", type=click.Path(path_type=Path), help="Fail unless this file says the same.")
@click.pass_obj
def conformance(config: Config, check: Path | None) -> None:
    """Print the DICOM Conformance Statement of this installation, as Markdown."""
    from cds_service.conformance_page import conformance_page

    page = conformance_page(config)
    if check is None:
        click.echo(page, nl=False)
    elif check.read_text(encoding="utf-8") != page:
        raise ConfigError(f"{check} is not what the software does; run `make format`")


@hcc_cds.command()
@click.option(
    "--cases",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder that holds `ibsi_phantoms` and `ibsi_validation`.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The page.")
def ibsi(cases: Path, out: Path) -> None:
    """Compare every feature with IBSI's consensus values and write the page about it."""
    from cds_service.ibsi_page import ibsi_page

    out.write_text(ibsi_page(cases, click.echo), encoding="utf-8")


@hcc_cds.group()
def audit() -> None:
    """Look after the audit trail of the CDS Hooks service."""


@audit.command()
@click.option(
    "--noted",
    metavar="NUMBER:DIGEST",
    help="A head noted earlier (an answer's log line has it as `audit`); must still be in the trail.",
)
@click.pass_obj
def verify(config: Config, noted: str | None) -> None:
    """Check that no row of the audit trail was changed, removed or reordered."""
    from cds_service.audit import parse_head
    from cds_service.calls import call_records

    shared = build_shared(config, "audit")
    trail = call_records(shared.store, shared.study_ref, software_version=version("hcc-cds")).trail
    report = trail.verify(noted=parse_head(noted) if noted else None)
    for fault in report.faults:
        click.echo(fault, err=True)
    click.echo(f"{report.count} rows, head {report.head}: {'NOT WHOLE' if report.faults else 'whole'}")
    if report.faults:
        sys.exit(1)


hcc_cds.add_command(extract)
hcc_cds.add_command(stability)


@hcc_cds.group()
def model() -> None:
    """Work with model bundles."""


@model.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The bundle.")
def demonstration(out: Path) -> None:
    """Make the demonstration bundle from phantoms: the same bytes every time."""
    from model.training.demonstration import build_demonstration

    build_demonstration(out, progress=click.echo)


def _stop_event() -> threading.Event:
    stop = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda _number, _frame: stop.set())
    return stop


def _end_with_stdin() -> None:
    # A supervisor that was killed closes the pipe; its children must not hold its ports.
    # Not through sys.stdin, whose lock would be held when the interpreter ends.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run the command; our errors become one line and an exit code."""
    # What we write is about patients: for our own user only.
    os.umask(0o077)
    try:
        hcc_cds()
    except HccCdsError as error:
        configure_logs(level="error", process="cli").error("failed", error=type(error).__name__)
        click.echo(f"hcc-cds: {error}", err=True)
        sys.exit(1)
