"""Processes that speak with clients: nothing is lost, limits hold, nobody is left behind."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import smtplib
import socket
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from bench.kill import Books, Client, stored
from bench.sink import Sink
from tests.peers.process import PATIENCE, children, free_port, until
from tests.peers.server import ADDRESS, HURRIED, PASSWORD, Layout, Server, ServerTestCase

_TOP: Final = "workers = 2"
_TWO: Final = Layout(top=_TOP)

#: That bring mail while something is killed.
_CLIENTS: Final = 6


def is_alive(pid: int) -> bool:
    """Whether there is such a process, which is more than a name."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def expects_hangup(pid: int) -> bool:
    """Whether SIGHUP is heard by the process, and does not end it.  proc(5)."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return bool(int(status["SigCgt"], 16) & 1 << signal.SIGHUP - 1)


def connections(pid: int, port: int) -> int:
    """How many of those to a port of this machine a process has.  proc(5)."""
    there = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1].endswith(f":{port:04X}"):
            there.add(f"socket:[{words[9]}]")
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(link.readlink()))
    return len(found & there)


def minute() -> int:
    """Which one it is."""
    return int(time.time() // 60)  # noqa: TID251 - the server counts by the clock on the wall


class WorkersCase(ServerTestCase):
    """A server with two workers."""

    def begin(self, layout: Layout = _TWO, *, password: bool = False) -> Server:
        """It, with both of them at work."""
        return self.start(layout, password=password)

    def workers(self, server: Server) -> list[int]:
        """Their process numbers."""
        return children(server.process.pid)

    def counted(self, server: Server, series: str) -> float:
        """What /metrics says."""
        _, text = server.ask("/metrics")
        for line in text.splitlines():
            if line.startswith(f"{series} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def assertCounted(self, server: Server, series: str, value: int) -> None:
        """/metrics says so, once every worker has answered in time."""
        until(
            lambda: self.counted(server, series) == value,
            what=f"{series} is {value}",
            log=lambda: server.ask("/metrics")[1],
        )

    def assertWhole(self, server: Server) -> None:
        """The database is as it should be."""
        with closing(sqlite3.connect(server.data / "moxsmtp.db")) as driver:
            self.assertEqual(driver.execute("PRAGMA integrity_check").fetchone(), ("ok",))

    def assertGone(self, *pids: int) -> None:
        """None of them is left, soon."""
        until(
            lambda: not any(map(is_alive, pids)),
            within=60,
            what=f"{pids} are gone",
            log=lambda: str([pid for pid in pids if is_alive(pid)]),
        )


class ServiceTests(WorkersCase):
    """What is done for clients."""

    def test_both(self) -> None:
        """
        Of clients that are not limited each worker has its share, and what they bring
        is stored once each.
        """
        server = self.begin()
        with ExitStack() as stack:
            clients = [stack.enter_context(server.client()) for _ in range(8)]
            port = server.ports["smtp"]
            self.assertEqual([connections(pid, port) for pid in self.workers(server)], [4, 4])
            for number in range(20):
                for place, client in enumerate(clients):
                    text = f"From: peer@there.test\r\nSubject: {place}-{number}\r\n\r\ntext\r\n"
                    client.sendmail("peer@there.test", [ADDRESS], text)
        subjects = sorted(entry["subject"] for entry in server.mail())
        self.assertEqual(subjects, sorted(f"{p}-{n}" for p in range(8) for n in range(20)))
        delivered = 'mox_smtpserver_delivery_total{reason="",result="delivered"}'
        self.assertCounted(server, delivered, 160)
        self.assertCounted(server, 'mox_smtpserver_connection_total{kind="smtp"}', 8)

        def sessions() -> set[str]:
            return {line.split("session ")[1].split()[0] for line in server.log().splitlines()
                    if "[session " in line}  # fmt: skip

        until(lambda: len(sessions()) == 8, what="each is logged", log=server.log)

    def test_large(self) -> None:
        """Content that becomes a file is stored by either worker, octet by octet."""
        server = self.begin()
        body = b"".join(b"%06d %s\r\n" % (line, b"x" * 70) for line in range(8000))
        with ExitStack() as stack:
            for client in [stack.enter_context(server.client()) for _ in range(4)]:
                client.sendmail("peer@there.test", [ADDRESS], b"Subject: large\r\n\r\n" + body)
        found = server.mail()
        self.assertEqual(len(found), 4)
        for entry in found:
            self.assertTrue(server.raw(entry["id"]).endswith(body))

    def test_users(self) -> None:
        """Users log in under STARTTLS with either worker; what they send leaves at once."""
        port = free_port("127.0.0.2")
        sink = Sink("127.0.0.2", port, fails=0, drops=0)
        self.addCleanup(sink.end)
        queue = f'outbound_port = {port}\nretry_after = "1h"'
        server = self.begin(Layout(top=_TOP, tables={"queue": queue}), password=True)
        seconds = []
        with ExitStack() as stack:
            clients = [stack.enter_context(server.submission()) for _ in range(4)]
            for number, client in enumerate(clients):
                text = f"From: {ADDRESS}\r\nSubject: sent {number}\r\n\r\ntext\r\n"
                client.sendmail(ADDRESS, ["user@[127.0.0.2]"], text)
                begun = time.monotonic()
                until(
                    lambda: len(sink.receipts) == number + 1,  # noqa: B023 - called within the loop
                    what="it has left",
                    log=server.log,
                )
                seconds.append(time.monotonic() - begun)
        self.assertAtOnce(seconds)

    def assertAtOnce(self, seconds: Sequence[float]) -> None:
        """
        One thing was done after the other, each in so many seconds.  Without being woken
        the server looks for more to do five seconds after it has done something.
        """
        self.assertLess(min(seconds[1:]), 3, seconds)

    def test_maildir(self) -> None:
        """Mail that a worker stored is handed over at once."""
        layout = Layout(
            top=f'{_TOP}\nmaildir = "{self.folder}/mail/{{account}}"',
            account='mailbox = "maildir"',
        )
        server = self.begin(layout)
        new = self.folder / "mail" / "alice" / "new"
        seconds = []
        for number in range(4):
            server.deliver(subject=f"{number}")
            begun = time.monotonic()
            until(
                lambda: new.is_dir() and len(list(new.iterdir())) == number + 1,  # noqa: B023 - called within the loop
                what="it is in the Maildir",
                log=server.log,
            )
            seconds.append(time.monotonic() - begun)
        self.assertAtOnce(seconds)

    def test_proxy(self) -> None:
        """Behind a proxy, clients are known by what it says."""
        server = self.begin(Layout(top=_TOP, listener='proxy.networks = ["127.0.0.0/8"]'))
        address = ("127.0.0.1", server.ports["smtp"])
        with socket.create_connection(address, PATIENCE) as connection:
            connection.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 25\r\n")
            with connection.makefile("rwb") as client:
                self.assertTrue(client.readline().startswith(b"220 "))
                for line, code in (
                    (b"HELO there.test", b"250"),
                    (b"MAIL FROM:<peer@there.test>", b"250"),
                    (b"RCPT TO:<alice@here.test>", b"250"),
                    (b"DATA", b"354"),
                    (b"Subject: proxied\r\n\r\ntext\r\n.", b"250"),
                ):
                    client.write(line + b"\r\n")
                    client.flush()
                    self.assertTrue(client.readline().startswith(code), line)
        entry = self.assertComes(server, "proxied")
        self.assertIn(b"[192.0.2.7]", server.raw(entry["id"]))


class LimitTests(WorkersCase):
    """They are those of the server, not of one process."""

    def refused(self, server: Server) -> str:
        """What a new connection is told; empty: it comes to nothing."""
        address = ("127.0.0.1", server.ports["smtp"])
        try:
            with socket.create_connection(address, PATIENCE) as connection:
                return connection.recv(1000).decode()
        except OSError:
            return ""

    def test_network(self) -> None:
        """Of one network so many connections are open as may be, and not one more (S-12)."""
        limits = "open_connections = [3, 90, 270]\nlimits_exempt = []"
        server = self.begin(Layout(top=_TOP, tables={"limits": limits}))
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(server.client())
            for _ in range(3):
                self.assertTrue(self.refused(server).startswith("421 4.7.0"))
        until(lambda: self.refused(server).startswith("220"), what="there is room again")

    def test_logins(self) -> None:
        """Failures to log in count together, over all ports (S-42)."""
        limits = "failed_logins_per_minute = [3, 30, 90]\nlimits_exempt = []"
        layout = Layout(top=_TOP, tables={"limits": limits, **HURRIED})
        server = self.begin(layout, password=True)
        for _ in range(5):
            begun = minute()
            try:
                for _ in range(3):
                    self.mistype(server)
                with self.assertRaises(smtplib.SMTPConnectError):
                    server.submission()
            except (AssertionError, smtplib.SMTPConnectError):
                if minute() == begun:
                    raise
            if minute() == begun:
                return
            # They are counted from each full minute on: only within one do we know how many.
            last = minute()
            until(lambda: minute() > last, what="a new minute")  # noqa: B023 - used at once
        self.fail("each time it took us longer than a minute")

    def mistype(self, server: Server) -> None:
        """Fail to log in."""
        port = server.ports["submission"]
        with smtplib.SMTP("localhost", port, "c.test", PATIENCE) as client:
            client.starttls(context=server.tls())
            client.ehlo()
            wrong = base64.b64encode(f"\0{ADDRESS}\0wrong".encode()).decode()
            self.assertEqual(client.docmd("AUTH", f"PLAIN {wrong}")[0], 535)

    def test_listener(self) -> None:
        """max_connections is counted over all workers, and given back when a connection ends."""
        server = self.begin(Layout(top=_TOP, listener="max_connections = 4"))
        with ExitStack() as stack:
            for _ in range(4):
                stack.enter_context(server.client())
            self.assertTrue(self.refused(server).startswith("421 4.7.0 too many"))
        until(lambda: self.refused(server).startswith("220"), what="there is room again")
        for pid in self.workers(server):
            os.kill(pid, signal.SIGKILL)
            self.assertGone(pid)
        until(lambda: len(self.workers(server)) == 2, what="they are back")
        server.wait_until_up()
        until(lambda: self.refused(server).startswith("220"), what="places are free")


class DeathTests(WorkersCase):
    """What is killed, in whatever order."""

    def loaded(self, server: Server) -> tuple[Books, threading.Event, Sequence[Client]]:
        """Clients that bring mail until they are told to stop."""
        books, over = Books(), threading.Event()
        # Those with even numbers bring mail from outside.
        clients = [Client(2 * number, server, books, over) for number in range(_CLIENTS)]
        for client in clients:
            client.start()
        self.addCleanup(over.set)
        return books, over, clients

    def assertKept(self, server: Server, books: Books) -> None:
        """All that was acknowledged is there, once and whole."""
        found = stored(server.data)
        lost = [name for name in books.local if name not in found]
        cut = [
            name for name, size in books.local.items() if any(n < size for n in found.get(name, ()))
        ]
        twice = [name for name, sizes in found.items() if len(sizes) > 1]
        self.assertEqual((lost, cut, twice), ([], [], []))
        self.assertGreater(len(books.local), 50)
        self.assertWhole(server)

    def test_worker(self) -> None:
        """
        A worker is killed under load: the other one goes on, it comes back, and of what
        was acknowledged nothing is lost.
        """
        server = self.begin()
        books, over, clients = self.loaded(server)
        for round_ in range(3):
            time.sleep(1.5)
            first = self.workers(server)
            before = len(books.local)
            os.kill(first[round_ % 2], signal.SIGKILL)
            until(lambda: len(books.local) > before + 20, what="mail comes in")  # noqa: B023 - called within the loop
            until(
                lambda: len(self.workers(server)) == 2 and self.workers(server) != first,  # noqa: B023 - the same
                what="it is replaced",
                log=server.log,
            )
        over.set()
        for client in clients:
            client.join(PATIENCE + 30)
        self.assertKept(server, books)
        self.assertCounted(server, "moxsmtp_workers", 2)
        self.assertCounted(server, "moxsmtp_worker_ends_total", 3)

    def test_server(self) -> None:
        """
        The server is killed under load: no worker outlives it for long, it can be started
        again at once, and of what was acknowledged nothing is lost.
        """
        server = self.begin()
        books, over, clients = self.loaded(server)
        for _ in range(3):
            time.sleep(1.5)
            before = len(books.local)
            until(lambda: len(books.local) > before + 20, what="mail comes in", log=server.log)  # noqa: B023 - called within the loop
            former = self.workers(server)
            self.assertEqual(len(former), 2)
            # It alone: its workers have to find out by themselves.
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait()
            server.restart()
            server.wait_until_up()
            self.assertGone(*former)
        over.set()
        for client in clients:
            client.join(PATIENCE + 30)
        self.assertKept(server, books)

    def test_stuck(self) -> None:
        """A worker that does not end when it is told to is killed, and stopping goes on."""
        server = self.begin()
        pids = self.workers(server)
        os.kill(pids[0], signal.SIGSTOP)
        self.assertEqual(server.end(), 0)
        self.assertGone(*pids)

    def test_counts(self) -> None:
        """What a worker had counted is not forgotten when it ends."""
        series = 'mox_smtpserver_delivery_total{reason="",result="delivered"}'
        server = self.begin()
        for number in range(6):
            server.deliver(subject=f"{number}")
        self.assertCounted(server, series, 6)
        for pid in self.workers(server):
            os.kill(pid, signal.SIGKILL)
        self.assertCounted(server, "moxsmtp_worker_ends_total", 2)
        self.assertCounted(server, series, 6)
        self.assertCounted(server, "moxsmtp_workers", 2)
        server.deliver(subject="more")
        self.assertCounted(server, series, 7)


class CommandTests(WorkersCase):
    """What the administrator says reaches all of them."""

    def test_reload(self) -> None:
        """SIGHUP: both know a new account; a worker that is started later, too."""
        server = self.begin()
        carol = '[account.carol]\naddresses = ["carol@here.test"]\n'
        server.configure(Layout(top=_TOP, rest=carol))
        server.reload()
        until(lambda: "was reloaded" in server.log(), what="it is reloaded")
        self.assertKnown(server)
        first = self.workers(server)
        os.kill(first[0], signal.SIGKILL)
        until(lambda: self.counted(server, "moxsmtp_workers") == 2
              and self.workers(server) != first, what="it is replaced")  # fmt: skip
        self.assertKnown(server)

    def test_reload_early(self) -> None:
        """
        SIGHUP to all processes while they start, from the moment on that twistd has found us,
        ends none of them, and is obeyed.
        """
        server = self.starting()
        first = server.process.pid

        def is_up() -> bool:
            for pid in (first, *children(first)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGHUP)
            return server.ask("/healthz")[0] == 200

        until(is_up, what="it is up", log=server.log)
        until(lambda: "was reloaded" in server.log(), what="it is obeyed", log=server.log)
        self.assertNotIn("has ended", server.log())

    def starting(self) -> Server:
        """One that expects SIGHUP, and has not begun to read our code."""
        for number in range(10):
            server = Server(self.folder / f"early{number}", _TWO)
            self.addCleanup(server.process.kill)
            until(lambda: expects_hangup(server.process.pid), what="it is expected")  # noqa: B023 - used at once
            if "starting up" not in server.log():
                self.addCleanup(self._finish, server)
                return server
            # We were looking elsewhere for as long as it takes to read our code.
            server.process.kill()
        raise AssertionError("each time it was seen too late")

    def assertKnown(self, server: Server) -> None:
        """Whichever of them is asked, once they have heard."""

        def codes() -> set[int]:
            with ExitStack() as stack:
                clients = [stack.enter_context(server.client()) for _ in range(4)]
                for client in clients:
                    client.ehlo_or_helo_if_needed()
                    client.mail("peer@there.test")
                return {client.rcpt("carol@here.test")[0] for client in clients}

        until(lambda: codes() == {250}, what="all know it", log=server.log)

    def test_without_tls(self) -> None:
        """
        SIGHUP: where a listener has lost its certificate, no worker offers STARTTLS, one
        that is started later neither; and none speaks in clear text where TLS comes first.
        """
        server = self.begin()
        text = server.file.read_text("utf-8")
        start, rest = text.split("[listener.tls]")
        rest = rest[rest.index("[listener.smtp]") :]
        rest = rest.replace("[listener.smtp]\n", "[listener.smtp]\nno_starttls = true\n")
        rest = rest.replace(
            "[listener.submission]\n", "[listener.submission]\nno_require_starttls = true\n"
        )
        rest = rest.replace(
            "[listener.submissions]\nenabled = true", "[listener.submissions]\nenabled = false"
        )
        server.file.write_text(start + rest, "utf-8")
        server.reload()

        def offers(port: str) -> bool:
            with smtplib.SMTP("127.0.0.1", server.ports[port], timeout=PATIENCE) as client:
                client.ehlo()
                return client.has_extn("starttls")

        until(lambda: not offers("smtp"), what="STARTTLS is gone", log=server.log)
        former = self.workers(server)
        for pid in former:
            os.kill(pid, signal.SIGKILL)
        until(
            lambda: (
                self.counted(server, "moxsmtp_workers") == 2
                and not set(former) & set(self.workers(server))
            ),
            what="both are replaced",
            log=server.log,
        )
        self.assertEqual([offers("smtp"), offers("submission")], [False, False])
        with (
            socket.create_connection(
                ("127.0.0.1", server.ports["submissions"]), PATIENCE
            ) as client,
            contextlib.suppress(ConnectionError),
        ):
            self.assertEqual(client.recv(100), b"")
        for _ in range(30):
            server.deliver()

    def test_password(self) -> None:
        """A password that was changed counts with both at once."""
        server = self.begin(Layout(top=_TOP, tables=HURRIED), password=True)
        server.submission().close()
        server.set_password(password="another one altogether")
        for _ in range(2):
            port = server.ports["submission"]
            with smtplib.SMTP("localhost", port, "c.test", PATIENCE) as client:
                client.starttls(context=server.tls())
                with self.assertRaises(smtplib.SMTPAuthenticationError):
                    client.login(ADDRESS, PASSWORD)

    def test_stop(self) -> None:
        """
        SIGTERM: who is in the middle of a message may end it, who is not gets 421; no
        process is left (S-15).
        """
        server = self.begin()
        in_time = False
        for _ in range(5):
            pids = self.workers(server)
            in_time = self.is_stopped_in_time(server)
            # twistd ends by the signal itself once all is done.
            self.assertIn(server.process.wait(), (0, -signal.SIGTERM))
            self.assertGone(*pids)
            server.restart()
            server.wait_until_up()
            if in_time:
                break
        self.assertTrue(in_time, "each time it took us longer than clients have")
        self.assertComes(server, "the last")

    def is_stopped_in_time(self, server: Server) -> bool:
        """What clients see of SIGTERM.  @return: Whether we took less time than they are given."""
        with server.client() as busy, server.client() as idle:
            busy.helo()
            busy.mail("peer@there.test")
            busy.rcpt(ADDRESS)
            self.assertEqual(busy.docmd("DATA")[0], 354)
            idle.helo()
            begun = time.monotonic()
            server.process.signal(signal.SIGTERM)
            try:
                # A worker hears of it a little later.
                until(lambda: idle.docmd("NOOP")[0] == 421, what="who is idle is told")
                busy.send(b"Subject: the last\r\n\r\ntext\r\n.\r\n")
                self.assertEqual(busy.getreply()[0], 250)
            except smtplib.SMTPServerDisconnected:
                if time.monotonic() - begun < 3:
                    raise
                return False
            finally:
                busy.close()
        return True

    def test_stop_twice(self) -> None:
        """A second SIGTERM ends all of it at once."""
        server = Server(self.folder / "moxsmtp", Layout(top=_TOP))
        self.addCleanup(server.end)
        seconds = [self.until_gone(server)]
        while seconds[-1] >= 2 and len(seconds) < 5:
            server.process.wait()
            server.restart()
            seconds.append(self.until_gone(server))
        # A single one waits three seconds for clients.
        self.assertLess(min(seconds), 2, seconds)

    def until_gone(self, server: Server) -> float:
        """How long it takes from a second SIGTERM on, a client being in the middle of a message."""
        server.wait_until_up()
        pids = self.workers(server)
        with server.client() as client:
            client.helo()
            client.mail("peer@there.test")
            client.rcpt(ADDRESS)
            client.docmd("DATA")
            stops = server.log().count("shutting down")
            server.process.signal(signal.SIGTERM)
            until(lambda: server.log().count("shutting down") > stops, what="it stops")
            begun = time.monotonic()
            server.process.signal(signal.SIGTERM)
            self.assertGone(server.process.pid, *pids)
            client.close()
            return time.monotonic() - begun

    def test_lines(self) -> None:
        """What workers log stands in the server's log, each line whole and in its form."""
        server = self.begin()
        with ExitStack() as stack:
            clients = [stack.enter_context(server.client()) for _ in range(4)]
            for number in range(25):
                for client in clients:
                    text = f"From: peer@there.test\r\nSubject: {number}\r\n\r\ntext\r\n"
                    client.sendmail("peer@there.test", [ADDRESS], text)
        until(lambda: server.log().count(" delivered ") == 100, what="all are logged")
        for line in server.log().splitlines():
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT[0-9:.]+Z (debug|info|warn|error|critical) ")
