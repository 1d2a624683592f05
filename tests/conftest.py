# SPDX-License-Identifier: Apache-2.0
"""Peers and real data: used where present, skipped with a reason on a laptop, demanded in CI."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def repository() -> Path:
    """The checkout."""
    return _ROOT


@pytest.fixture(scope="session")
def cases() -> Path:
    """Real studies, records and broken files, which are not ours to copy."""
    folder = _ROOT.parent / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip("the shared cases are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def peer() -> Callable[[str], str]:
    """Return the path of another program; skip where it is missing, fail with REQUIRE_PEERS=1."""

    def find(name: str) -> str:
        # Beside Python come last: pynetdicom brings programs that are named like DCMTK's.
        beside_python = Path(sys.executable).parent
        path = [each for each in os.environ["PATH"].split(os.pathsep) if Path(each) != beside_python]
        found = shutil.which(name, path=os.pathsep.join([*path, str(beside_python)]))
        if found is None:
            message = f"{name} is not installed (scripts/install-peers.sh brings it on Debian)"
            if os.environ.get("REQUIRE_PEERS") == "1":
                pytest.fail(message)
            pytest.skip(message)
        return found

    return find
