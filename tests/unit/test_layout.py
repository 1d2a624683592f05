# SPDX-License-Identifier: Apache-2.0
"""Traps of the repository's own shape."""

import subprocess
import sys
from pathlib import Path

import pytest


def test_fhir_resources_and_our_gateway_import_side_by_side_from_the_checkout(repository: Path) -> None:
    code = "import sys; sys.path.insert(0, '.'); import fhir.resources.R4B.patient, fhir_gateway.facts"

    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True, timeout=120)


def test_the_folder_fhir_is_no_package(repository: Path) -> None:
    assert not (repository / "fhir" / "__init__.py").exists()


@pytest.mark.parametrize("module", ["cds_service.app", "cds_service.receiving"])
def test_listener_and_web_never_load_the_pixel_libraries(repository: Path, module: str) -> None:
    heavy = "sklearn", "skops", "radiomics", "SimpleITK", "skimage", "highdicom"
    code = f"import sys, {module}; print([each for each in {heavy!r} if each in sys.modules])"

    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, check=True, capture_output=True, text=True, timeout=120
    )

    assert answer.stdout.strip() == "[]"
