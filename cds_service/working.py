# SPDX-License-Identifier: Apache-2.0
"""The worker's object graph; apart from `build`, for it alone needs the imaging libraries."""

from __future__ import annotations

import threading

from cds_service.build import build_shared
from cds_service.committing import Committer
from cds_service.config import Config
from cds_service.delivering import Delivery
from cds_service.engines import create_workflow_engine
from cds_service.models import load_configured_bundle
from cds_service.pool import MeasuringPool
from cds_service.rehearsal import rehearse
from cds_service.stages import Stages
from cds_service.worker import Worker, WorkerName, end_process


def run_worker(
    config: Config,
    *,
    stop: threading.Event,
    grace_s: float,
    make_stages: type[Stages] = Stages,
    make_delivery: type[Delivery] = Delivery,
) -> None:
    """Work until `stop` is set, then end the process.

    Parameters
    ----------
    grace_s
        Time that steps under way have to end; what does not is resumed by the next worker.
    """
    shared = build_shared(config, "work")
    shared.archive.prepare()
    bundle = load_configured_bundle(config)
    pool = MeasuringPool(config.assess.processes, first=rehearse if config.assess.rehearse else None)
    worker = Worker(
        settings=config.assess,
        name=WorkerName(config.site.data_dir / "workers"),
        engine=create_workflow_engine(config.workflow_url, busy_timeout_s=config.store.busy_timeout_s),
        store=shared.store,
        stages=make_stages(
            config=config,
            store=shared.store,
            archive=shared.archive,
            bundle=bundle,
            pool=pool,
            study_ref=shared.study_ref,
            log=shared.log,
        ),
        delivery=make_delivery(
            config=config,
            store=shared.store,
            committer=Committer(config=config, store=shared.store, log=shared.log),
            study_ref=shared.study_ref,
            log=shared.log,
        ),
        log=shared.log,
    )
    worker.start()
    shared.log.info(
        "working",
        count=config.assess.processes,
        bundle=f"{bundle.identity.name} {bundle.identity.version}",
        model_status=bundle.identity.status.value,
    )
    stop.wait()
    worker.stop(grace_s=grace_s)
    shared.log.info("stopped")
    end_process(0)
