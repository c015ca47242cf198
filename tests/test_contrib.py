"""The unit for systemd."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from twisted.trial import unittest

_ROOT: Final = Path(__file__).resolve().parent.parent
_UNIT: Final = _ROOT / "contrib" / "moxsmtp.service"


def settings() -> Mapping[str, Sequence[str]]:
    """All that the unit sets, by key."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in _UNIT.read_text("utf-8").splitlines():
        key, is_set, value = line.partition("=")
        if is_set and not line.startswith("#"):
            found[key].append(value)
    return found


class UnitTests(unittest.SynchronousTestCase):
    """What has to agree with the server and with what is written of it."""

    def test_user(self) -> None:
        """It runs as a user that stays, who can own a key; how to make it is written twice."""
        unit = settings()
        self.assertNotIn("DynamicUser", unit)
        self.assertEqual(unit["User"], ["moxsmtp"])
        for text in (_UNIT.read_text("utf-8"), (_ROOT / "docs/operation.rst").read_text("utf-8")):
            self.assertIn("useradd --system --user-group", text)
            self.assertIn("chown moxsmtp /etc/moxsmtp/key.pem", text)
            self.assertIn("chmod 0400 /etc/moxsmtp/key.pem", text)

    def test_configuration(self) -> None:
        """The file that is tested before start and reload is the one that is served."""
        unit = settings()
        for command in (*unit["ExecStartPre"], *unit["ExecStart"], unit["ExecReload"][0]):
            self.assertIn("/etc/moxsmtp/moxsmtp.toml", command)

    def test_backup(self) -> None:
        """There is a place for copies that the server may write, outside of its data."""
        self.assertEqual(settings()["ReadWritePaths"], ["-/var/backups/moxsmtp"])

    def test_verify(self) -> None:
        """systemd finds nothing wrong but that the programs are not installed here."""
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            raise unittest.SkipTest("systemd-analyze is not installed")
        done = subprocess.run(
            [analyze, "verify", str(_UNIT)], capture_output=True, text=True, check=False, timeout=60
        )
        ours = [line for line in done.stderr.splitlines() if _UNIT.name in line]
        self.assertEqual([line for line in ours if "is not executable" not in line], [])
