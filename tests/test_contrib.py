"""The units for systemd."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from twisted.trial import unittest

from moxsmtp.receive.settings import ListenerSettings

_ROOT: Final = Path(__file__).resolve().parent.parent
_UNIT: Final = _ROOT / "contrib" / "moxsmtp.service"
_SOCKET: Final = _ROOT / "contrib" / "moxsmtp.socket"


def settings(unit: Path = _UNIT) -> Mapping[str, Sequence[str]]:
    """All that a unit sets, by key."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in unit.read_text("utf-8").splitlines():
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

    def test_scheduling(self) -> None:
        """Workers may choose how they are scheduled, which is a resource, but not realtime."""
        unit = settings()
        allowed = unit["SystemCallFilter"]
        self.assertIn("@resources", allowed[-2])
        self.assertEqual(allowed[-1], "sched_setscheduler")
        self.assertEqual(unit["RestrictRealtime"], ["yes"])

    def test_sockets(self) -> None:
        """
        The sockets are those of the example configuration, each of one family of
        addresses, and the service of the same name gets them (S-1).
        """
        example = tomllib.loads((_ROOT / "docs/moxsmtp.toml").read_text("utf-8"))
        defaults = ListenerSettings(name="", addresses=())
        ports = {defaults.smtp.port, defaults.submission.port, defaults.submissions.port}
        hosts = [
            f"[{host}]" if ":" in host else host for host in example["listener"][0]["addresses"]
        ]
        unit = settings(_SOCKET)
        self.assertEqual(
            sorted(f"{host}:{port}" for host in hosts for port in ports),
            sorted(unit["ListenStream"]),
        )
        self.assertEqual(["ipv6-only"], unit["BindIPv6Only"])
        self.assertEqual(_UNIT.stem, _SOCKET.stem)

    def test_verify(self) -> None:
        """systemd finds nothing wrong but that the programs are not installed here."""
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            raise unittest.SkipTest("systemd-analyze is not installed")
        done = subprocess.run(
            [analyze, "verify", str(_SOCKET), str(_UNIT)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        ours = [line for line in done.stderr.splitlines() if _UNIT.stem in line]
        self.assertEqual([line for line in ours if "is not executable" not in line], [])
