# SPDX-License-Identifier: Apache-2.0
"""The commands of `hcc-cds` for whoever works with a cohort rather than with single studies."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cds_service.config import Config
from cds_service.logs import configure_logs


@click.command()
@click.argument("cohort", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The table, .csv or .parquet. Run again with the same name, and it goes on where it stopped.",
)
@click.option("--full", is_flag=True, help="Filtered images as well: 1,130 features instead of 107.")
@click.option(
    "--perturbations",
    type=click.IntRange(0, 100),
    default=0,
    show_default=True,
    help="Measure each index lesion so often again, with noise, pose and outline perturbed, and write that "
    "to a second table, TABLE.perturbed.csv, for `hcc-cds stability`.",
)
@click.pass_obj
def extract(config: Config, cohort: Path, out: Path, *, full: bool, perturbations: int) -> None:
    """Measure every lesion of COHORT: a folder of folders, or a CSV with columns `case` and `study`."""
    from cds_service.extracting import Extraction, extract_cohort, read_cohort
    from cds_service.stages import image_limits
    from model.extraction_settings import CT_SETTINGS, MR_SETTINGS, with_filters

    configure_logs(level=config.log.level, process="extract")
    settings = [with_filters(each) if full else each for each in (CT_SETTINGS, MR_SETTINGS)]
    cases = read_cohort(cohort)
    with click.progressbar(length=len(cases), label="cases", show_pos=True, file=sys.stderr) as bar:
        rows = extract_cohort(
            cases,
            Extraction(
                limits=image_limits(config.image),
                settings={each.modality: each for each in settings},
                default_issuer=config.identity.default_issuer,
                perturbations=perturbations,
            ),
            out,
            jobs=config.extract.processes,
            dask_scheduler=config.extract.dask_scheduler or None,
            progress=bar.update,
        )
    click.echo(f"{rows} rows of {len(cases)} cases are in {out}")


@click.command()
@click.argument("table", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The CSV.")
@click.option(
    "--lower-limit",
    type=click.FloatRange(-1.0, 1.0, min_open=True, max_open=True),
    default=0.75,
    show_default=True,
    help="What the lower confidence limit of a stable feature's ICC reaches.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
)
def stability(table: Path, out: Path, *, lower_limit: float, confidence: float) -> None:
    """Tell which features are stable in TABLE, the perturbed measurements that `extract` wrote.

    A selection of features that is tested afterwards may look at the lesions that it is made from only:
    leave those of the test part out of TABLE.
    """
    from cds_service.stability_table import read_stability, write_stability

    found = read_stability(table, confidence=confidence)
    stable = write_stability(found, out, demanded=lower_limit)
    click.echo(
        f"{len(stable)} of {len(found.names)} features have an ICC whose lower limit ({confidence:.0%}) is "
        f"{lower_limit:g} or more; all of them are in {out}"
    )
