# SPDX-License-Identifier: Apache-2.0
"""One command, `hcc-cds`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import click

from cds_service.build import CurrentOutcomes, build_shared
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
    from cds_service.serve import Supervisor

    config: Config = context.obj
    shared = build_shared(config, "serve")  # migrates once, and fails here rather than three times
    build_scp(shared)
    shared.log.info(
        "starting",
        address=f"{config.listen.ae_title}@{config.listen.host}:{config.listen.port} {config.web.url}",
    )
    sys.exit(
        Supervisor(
            [*context.meta["config_arguments"], "--until-stdin-closes"],
            stop_grace_s=3 * _STOP_GRACE_S,
            log=shared.log,
        ).run()
    )


@hcc_cds.command()
@click.pass_obj
def listen(config: Config) -> None:
    """Run the DICOM listener alone."""
    from cds_service.receiving import build_scp

    shared = build_shared(config, "listen")
    scp = build_scp(shared)
    stop = _stop_event()
    try:
        scp.start()
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

    from cds_service.app import create_app
    from cds_service.web import WebServer

    log = build_shared(config, "web").log

    def make_app() -> Flask:
        shared = build_shared(config, "web")
        return create_app(
            config,
            outcomes=CurrentOutcomes(shared.store.assessments.current, config.model.suspended),
            seen_tokens=shared.store.tokens,
            now=lambda: datetime.now(UTC),
            log=shared.log,
        )

    log.info("answering", address=config.web.host, port=config.web.port)
    WebServer(config.web, make_app).run()


@hcc_cds.command()
@click.pass_obj
def redeliver(config: Config) -> None:
    """Send again the reports that were put aside; the running worker does it within a minute or two."""
    shared = build_shared(config, "redeliver")
    count = shared.store.outbox.revive_deliveries(now=datetime.now(UTC))
    click.echo(f"{count} reports are back in the outbox")


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
