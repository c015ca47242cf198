"""Dovecot, serving one Maildir over IMAP."""

from __future__ import annotations

import imaplib
import os
import socket
import subprocess
from pathlib import Path
from typing import Final

from tests.peers.process import PATIENCE, Process, find, free_port, until

__all__ = ["Dovecot", "DovecotLogins"]

_COMMON: Final = """\
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
listen = 127.0.0.1
protocols = imap
ssl = no
first_valid_uid = 1
first_valid_gid = 0
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
"""

_VERSION_2_3: Final = """\
disable_plaintext_auth = no
mail_location = maildir:{maildir}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home
}}
"""

_VERSION_2_4: Final = """\
auth_allow_cleartext = yes
mail_driver = maildir
mail_path = {maildir}
passdb static {{
  password = {password}
}}
userdb static {{
  fields {{
    uid = {uid}
    gid = {gid}
    home = {folder}/home
  }}
}}
"""

_PASSWORD: Final = "secret"


class Dovecot:
    """
    Opens C{maildir} for any user whose password is C{secret}.

    @param uid: Who it reads mail as; never root, which it refuses.
    """

    def __init__(self, folder: Path, *, maildir: Path, uid: int, gid: int) -> None:
        folder.mkdir()
        (folder / "home").mkdir()
        os.chown(folder / "home", uid, gid)
        self.port = free_port()
        self._log_file = folder / "log"
        version = _version()
        settings, head = _VERSION_2_3, ""
        if version >= (2, 4):
            number = ".".join(map(str, version))
            head = f"dovecot_config_version = {number}\ndovecot_storage_version = {number}\n"
            settings = _VERSION_2_4
        text = head + (_COMMON + settings).format(
            folder=folder, port=self.port, maildir=maildir, uid=uid, gid=gid, password=_PASSWORD
        )
        (folder / "dovecot.conf").write_text(text)
        self._process = Process(
            [find("dovecot") or "dovecot", "-F", "-c", folder / "dovecot.conf"],
            log=folder / "output",
        )
        until(self._listens, what="Dovecot listens", log=self.log)

    def _listens(self) -> bool:
        try:
            self.connect().logout()
        except (OSError, imaplib.IMAP4.error):
            return False
        return True

    def connect(self) -> imaplib.IMAP4:
        """Somebody's mail program, logged in."""
        program = imaplib.IMAP4("127.0.0.1", self.port, timeout=PATIENCE)
        program.login("user", _PASSWORD)
        return program

    def log(self) -> str:
        """What it printed and logged."""
        logged = self._log_file.read_text("utf-8", "replace") if self._log_file.exists() else ""
        return self._process.output() + logged

    def end(self) -> None:
        """Stop it and all of its processes."""
        self._process.end()


_LOGINS: Final = """\
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
listen = 127.0.0.1
protocols =
ssl = no
auth_mechanisms = plain cram-md5 scram-sha-1 scram-sha-256
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service anvil {{
  chroot =
}}
"""


class DovecotLogins:
    """
    Says who may log in, for Postfix: any user whose password is C{secret}.

    @ivar port: Where it is asked.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        self._log_file = folder / "log"
        version = _version()
        common = _LOGINS.format(folder=folder, port=self.port)
        if version >= (2, 4):
            number = ".".join(map(str, version))
            common = (
                f"dovecot_config_version = {number}\ndovecot_storage_version = {number}\n{common}"
            )
            common += f"passdb static {{\n  password = {_PASSWORD}\n}}\n"
        else:
            common += f"passdb {{\n  driver = static\n  args = password={_PASSWORD}\n}}\n"
        (folder / "dovecot.conf").write_text(common)
        self._process = Process(
            [find("dovecot") or "dovecot", "-F", "-c", folder / "dovecot.conf"],
            log=folder / "output",
        )
        until(self._listens, what="Dovecot listens", log=self.log)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True

    def log(self) -> str:
        """What it printed and logged."""
        logged = self._log_file.read_text("utf-8", "replace") if self._log_file.exists() else ""
        return self._process.output() + logged

    def end(self) -> None:
        """Stop it and all of its processes."""
        self._process.end()


def _version() -> tuple[int, ...]:
    done = subprocess.run(
        [find("dovecot") or "dovecot", "--version"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return tuple(map(int, done.stdout.split()[0].split("-")[0].split(".")[:3]))
