# SPDX-License-Identifier: Apache-2.0
"""`python dying_worker.py CONFIG STEP [--older] work`: the real worker, killed by SIGKILL inside one step.

It dies when the step's work is done and its result is not kept yet: the worst moment.
With `--older` it is one of the version before.
"""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any


def main() -> None:
    # Here, for the measuring processes import this file and measure without all that a worker is made of.
    from cds_service import delivering, stages, worker
    from cds_service.config import load_config
    from cds_service.working import run_worker

    config_path, step = Path(sys.argv[1]), sys.argv[2]

    if "--older" in sys.argv:
        worker.PIPELINE_VERSION = "pipeline-0"

    class DyingStages(stages.Stages):
        pass

    class DyingDelivery(delivering.Delivery):
        pass

    owner: Any = DyingStages if hasattr(stages.Stages, step) else DyingDelivery

    def die(self: Any, *args: Any) -> Any:
        getattr(super(owner, self), step)(*args)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, step, die)
    run_worker(
        load_config(config_path),
        stop=threading.Event(),
        grace_s=0,
        make_stages=DyingStages,
        make_delivery=DyingDelivery,
    )


# The measuring processes are spawned and import this file; they must not become workers.
if __name__ == "__main__":
    main()
