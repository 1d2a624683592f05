# SPDX-License-Identifier: Apache-2.0
"""The phantom that a measuring process measures before its first study."""

import gc
import json
import subprocess
import sys
import tempfile

from cds_service.rehearsal import rehearse


def test_a_rehearsal_goes_the_whole_way_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    try:
        rehearse(None)
    finally:
        gc.unfreeze()

    assert not list(tmp_path.iterdir())


def test_after_a_rehearsal_a_study_finds_every_library_loaded():
    """What a second rehearsal, which is like any study, would still have to import."""
    script = (
        "import json, sys\n"
        "from cds_service.rehearsal import rehearse\n"
        "rehearse(None)\n"
        "before = set(sys.modules)\n"
        "rehearse(None)\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )

    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=110
    )

    assert answer.returncode == 0, answer.stderr[-1000:]
    assert json.loads(answer.stdout) == []
