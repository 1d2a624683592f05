# SPDX-License-Identifier: Apache-2.0
"""The command, as an administrator runs it."""

import re
import subprocess
import sys
from pathlib import Path

from cds_service.cli import hcc_cds


def run(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "cds_service", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        umask=0o022,
    )


def test_what_is_written_is_for_our_own_user_only(tmp_path: Path) -> None:
    answer = run("redeliver", cwd=tmp_path)

    assert answer.returncode == 0, answer.stderr
    assert "0 reports" in answer.stdout
    written = list((tmp_path / "var").rglob("*"))
    assert any(each.name == "hcc-cds.sqlite" for each in written)
    assert [each for each in (tmp_path / "var", *written) if each.stat().st_mode & 0o077] == []


def test_a_wrong_setting_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[listen]\nprot = 1\n")

    answer = run("--config", "bad.toml", "listen", cwd=tmp_path)

    assert answer.returncode == 1
    assert "listen.prot" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_older_results_are_sent_to_a_destination_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "hcc-cds.toml").write_text(
        '[[deliver.destinations]]\nname = "pacs"\nhost = "127.0.0.1"\nae_title = "PACS"\n'
    )

    def redeliver(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return run("--config", "hcc-cds.toml", "redeliver", *arguments, cwd=tmp_path)

    whole = redeliver("--destination", "pacs", "--since", "2026-11-01")
    nameless = redeliver("--since", "2026-11-01")
    unknown = redeliver("--destination", "else", "--since", "2026-11-01")

    assert "0 older reports are in the outbox for pacs" in whole.stdout
    assert (nameless.returncode, unknown.returncode) == (2, 1)
    assert "--destination" in nameless.stderr


def test_the_demonstration_empties_no_folder_that_is_not_its_own(tmp_path: Path) -> None:
    precious = tmp_path / "documents" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("mine")

    answer = run("demo", "--folder", "documents", cwd=tmp_path)

    assert answer.returncode == 1
    assert "another folder" in answer.stderr
    assert precious.read_text() == "mine"


def test_every_command_stands_in_the_changelog(repository: Path) -> None:
    changelog = (repository / "CHANGELOG.md").read_text(encoding="utf-8")

    for name, command in hcc_cds.commands.items():
        assert re.search(rf"`(hcc-cds )?{name}[ `]", changelog), name
        assert command.help, name
