"""Postfix with a configuration, a queue and a log of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from smtplib import SMTP, SMTPConnectError, SMTPException
from typing import Final

from tests.peers.certificate import Certificate
from tests.peers.process import PATIENCE, Process, find, free_port, until

__all__ = ["Postfix"]

#: Who owns the mail that it delivers.
_OWNER: Final = 5000

_MAIN: Final = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = {commands}
daemon_directory = {daemons}
meta_directory = /etc/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
smtpd_client_connection_count_limit = 0
smtpd_recipient_restrictions = check_recipient_access
    inline:{{ {{ refused@there.test = 550 5.1.1 no such user }} }}, permit_mynetworks, reject
message_size_limit = 104857600
virtual_mailbox_limit = 0
virtual_mailbox_domains = {domains}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:{owner}
virtual_gid_maps = static:{owner}
"""

_RELAY: Final = """\
relay_domains = {domains}
transport_maps = inline:{{ {routes} }}
relay_transport = smtp
smtp_tls_security_level = may
smtp_destination_concurrency_limit = 20
"""

_TLS: Final = """\
smtpd_tls_security_level = may
smtpd_tls_chain_files = {key}, {certificate}
smtpd_tls_loglevel = 1
smtpd_tls_received_header = yes
"""

_MASTER: Final = """\
{address}:{port} inet n - n - - smtpd
pickup    unix  n  -  n  60     1  pickup
cleanup   unix  n  -  n  -      0  cleanup
qmgr      unix  n  -  n  300    1  qmgr
tlsmgr    unix  -  -  n  1000?  1  tlsmgr
tlsproxy  unix  -  -  n  -      0  tlsproxy
rewrite   unix  -  -  n  -      -  trivial-rewrite
bounce    unix  -  -  n  -      0  bounce
defer     unix  -  -  n  -      0  bounce
trace     unix  -  -  n  -      0  bounce
verify    unix  -  -  n  -      1  verify
flush     unix  n  -  n  1000?  0  flush
proxymap  unix  -  -  n  -      -  proxymap
proxywrite unix -  -  n  -      1  proxymap
smtp      unix  -  -  n  -      -  smtp
relay     unix  -  -  n  -      -  smtp
showq     unix  n  -  n  -      -  showq
error     unix  -  -  n  -      -  error
retry     unix  -  -  n  -      -  error
discard   unix  -  -  n  -      -  discard
virtual   unix  -  n  n  -      -  virtual
anvil     unix  -  -  n  -      1  anvil
scache    unix  -  -  n  -      1  scache
postlog   unix-dgram n -  n  -      1  postlogd
"""


class Postfix:
    """
    Takes mail at C{address} and C{port}, but for C{refused@there.test}.

    @param domains: Mail to these is delivered to the Maildir L{inbox}.
    @param routes: For each of these domains, C{host:port} that its mail is
        relayed to.
    @param certificate: With it, STARTTLS is offered.
    @param settings: More lines of C{main.cf}.
    @ivar inbox: The Maildir.
    """

    def __init__(
        self,
        folder: Path,
        *,
        domains: tuple[str, ...] = (),
        routes: dict[str, str] | None = None,
        certificate: Certificate | None = None,
        address: str = "127.0.0.1",
        port: int = 0,
        settings: str = "",
    ) -> None:
        self.folder = folder
        self.address = address
        self.port = port or free_port(address)
        self.inbox = folder / "mail" / "inbox"
        for name in ("etc", "spool", "data", "mail"):
            (folder / name).mkdir(parents=True)
        shutil.chown(folder / "data", "postfix")
        shutil.chown(folder / "mail", _OWNER, _OWNER)
        text = _MAIN.format(
            folder=folder,
            commands=Path(find("postconf") or "/usr/sbin/postconf").parent,
            daemons=_daemons(),
            owner=_OWNER,
            domains=" ".join(domains),
        )
        if routes:
            hops = {domain: to.split(":") for domain, to in routes.items()}
            table = ", ".join(f"{domain}=smtp:[{to}]:{at}" for domain, (to, at) in hops.items())
            text += _RELAY.format(domains=" ".join(routes), routes=table)
        if certificate:
            text += _TLS.format(key=certificate.key, certificate=certificate.file)
        (folder / "etc" / "main.cf").write_text(text + settings)
        (folder / "etc" / "master.cf").write_text(_MASTER.format(address=address, port=self.port))
        subprocess.run(
            [find("postfix") or "postfix", "-c", folder / "etc", "check"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        self.process = Process(
            [_daemons() / "master", "-c", folder / "etc", "-d"], log=folder / "master.log"
        )
        until(self._listens, what="Postfix listens", log=self.log)

    def _listens(self) -> bool:
        try:
            with SMTP(self.address, self.port, timeout=5):
                return True
        except SMTPConnectError:
            # It says so that it wants nobody.
            return True
        except (OSError, SMTPException):
            return False

    def messages(self) -> list[bytes]:
        """What was delivered to the inbox, LF line ends."""
        return [path.read_bytes() for path in sorted((self.inbox / "new").glob("*"))]

    def is_idle(self) -> bool:
        """Whether its queue is empty."""
        spool = self.folder / "spool"
        queues = ("maildrop", "incoming", "active")
        flat = any(next((spool / name).glob("*"), None) for name in queues)
        return not flat and next((spool / "deferred").glob("*/*"), None) is None

    def log(self) -> str:
        """What it logged."""
        file = self.folder / "log"
        return self.process.output() + (file.read_text("utf-8", "replace") if file.exists() else "")

    def wait_for_log(self, words: str) -> None:
        """Until they are logged: a daemon of its own writes what the others have to say."""
        until(lambda: words in self.log(), what=f"Postfix logs: {words}", log=self.log)

    def end(self) -> None:
        """Stop it and all of its daemons."""
        self.process.end()


def _daemons() -> Path:
    for folder in ("/usr/lib/postfix/sbin", "/usr/libexec/postfix", "/usr/lib/postfix"):
        if (Path(folder) / "master").exists():
            return Path(folder)
    raise AssertionError("no Postfix daemons")
