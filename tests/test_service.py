"""Tests for L{moxsmtp.service}: a whole server, without a reactor that runs."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from ipaddress import ip_network
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from sqlalchemy import func, select, update
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer

from moxsmtp import service as service_module
from moxsmtp.config import Selector, Settings
from moxsmtp.dkim import Signer, generate_key, load_private_key, public_record, sign
from moxsmtp.dns.records import MX, Question, RRType
from moxsmtp.engine import open_engine
from moxsmtp.interfaces import (
    Account,
    Allowance,
    HookTarget,
    Login,
    Maildir,
    NewMessage,
    OutgoingEvent,
    PasswordSecrets,
    Provenance,
    Validation,
)
from moxsmtp.names import parse_domain
from moxsmtp.outbound.route import Chosen, Consignment, Routing
from moxsmtp.outbound.transport import DIRECT, Fail, Route, Transport
from moxsmtp.parts import Parts
from moxsmtp.queue.job import Result, Retired, Settlement
from moxsmtp.receive.relay_settings import RelaySettings
from moxsmtp.receive.settings import ListenerSettings, ServiceSettings, TLSSettings
from moxsmtp.service import Server
from moxsmtp.smtp.login_secrets import ScramHash, SecretsWanted
from moxsmtp.store.client_keys import ClientKeys
from moxsmtp.store.database import Transaction
from moxsmtp.store.message_rows import StoredMessage
from moxsmtp.store.schema import job as job_table
from moxsmtp.store.schema import retired_job, sent
from moxsmtp.store.settings import StoreSettings
from moxsmtp.tls.server import CertificateError
from tests.receive.houses import session_log
from tests.running import LOOPBACK, STARTED, Alone, RunningCase, Visitor
from tests.test_parts import SPOOLED, hook, job, mailbox

KEY = load_private_key(generate_key("ed25519"))


class ServerCase(RunningCase):
    """
    @ivar parts: Of the server.
    @ivar told: Why it gave up.
    """

    def setUp(self) -> None:
        """Nothing has gone wrong yet."""
        super().setUp()
        self.told: list[BaseException] = []
        self.alone = Alone()

    def made(self, settings: Settings) -> Server:
        """Not started."""
        engine = open_engine(settings.data_directory, settings.store, self.reactor)
        self.parts = Parts(settings, self.alone, engine, self.reactor)
        return Server(self.parts, self.told.append)

    def started(self, **others: Any) -> Server:
        """Running."""
        return self.running(self.made(self.settings(**others)))

    def visitor(self) -> Visitor:
        """Greeted on port 25."""
        visitor = Visitor(self.reactor, self.ports[0].factory)
        visitor.reply()
        visitor.say("EHLO client.example")
        return visitor

    def deliver(self, account: str, **others: Any) -> None:
        """Store mail for it."""
        to = mailbox(f"{account}@ours.example")
        message = NewMessage(account, b"", self.parts.now(), None, to, **others)
        self.result(self.parts.mail_store.deliver(SPOOLED, [message]))

    def queue(self, *recipients: str) -> Sequence[int]:
        """Queue mail, not to be tried today."""
        later = self.parts.now() + timedelta(days=1)
        jobs = [job(each, next_attempt=later) for each in recipients]
        return self.result(self.parts.job_store.add(SPOOLED, jobs))


class StartTests(ServerCase):
    """What runs once it has begun."""

    def test_session_ids(self) -> None:
        """Sessions are numbered from the time of the start on, in milliseconds (S-9)."""
        self.started()
        entrance = self.ports[0].factory.wrapped.entrance
        self.assertEqual(STARTED * 1000, next(entrance.session_ids))

    def test_doors_first(self) -> None:
        """The doors are open before what sends is so much as read."""
        found: list[int] = []

        def read(name: str) -> ModuleType:
            found.append(len(self.reactor.ports))
            return import_module(name)

        self.patch(service_module, "import_module", read)
        self.started()
        self.assertEqual([1], found)

    def test_queue(self) -> None:
        """The queue is worked on (Q-1)."""
        self.started()
        _ = self.result(self.parts.job_store.add(SPOOLED, [job("a@far.example")]))
        self.reactor.advance(0.1)
        self.reactor.until(lambda: self.reactor.tcpClients)

    def test_lists(self) -> None:
        """
        I-73: Lists of addresses are looked at soon after the start, and those of a
        reload with the next look.
        """

        def listener(zone: str) -> ListenerSettings:
            smtp = ServiceSettings(
                enabled=True, port=0, no_starttls=True, dnsbls=(parse_domain(zone),)
            )
            return ListenerSettings(name="public", addresses=(LOOPBACK,), smtp=smtp)

        def levels() -> dict[str, str]:
            exposed = self.parts.metrics.exposition().decode()
            return dict(re.findall(r'moxsmtp_dnsbl_healthy\{zone="([^"]*)"\} (\S+)', exposed))

        self.alone.own.zone[Question("2.0.0.127.good.example", RRType.A)] = ("127.0.0.2",)
        server = self.started(listeners=(listener("good.example"),))
        self.reactor.advance(2)
        self.reactor.until(levels)
        server.reload(self.settings(listeners=(listener("bad.example"),)))
        self.reactor.advance(600)
        self.reactor.until(lambda: len(levels()) == 2)
        self.assertEqual({"good.example": "1.0", "bad.example": "0.0"}, levels())

    def test_registries(self) -> None:
        """The resolver is told which domains are registries."""
        self.made(self.settings())
        known = self.alone.is_public_suffix
        self.assertEqual(
            [True, False], [known(parse_domain(name)) for name in ("co.uk", "far.co.uk")]
        )

    def test_hooks(self) -> None:
        """Webhooks are called (Q-1)."""
        target = HookTarget("http://127.0.0.1:8080/")
        alice = Account("alice", ("alice@ours.example",), incoming_webhook=target)
        self.started(accounts=(alice,))
        self.deliver("alice", hook=hook("alice", target.url))
        self.reactor.advance(0.1)
        self.reactor.until(lambda: self.reactor.tcpClients)

    def test_checks(self) -> None:
        """
        All checks are joined to port 25: what each of them finds in the DNS is
        kept with the message (I-105), and the suffix list says whose domain it is.
        """
        self.alone.own.zone = {
            Question("1.0.0.127.in-addr.arpa", RRType.PTR): ("mx.far.co.uk",),
            Question("mx.far.co.uk", RRType.A): ("127.0.0.1",),
            Question("mail.far.co.uk", RRType.MX): (MX(10, "mx.far.co.uk"),),
            Question("mail.far.co.uk", RRType.TXT): (b"v=spf1 a:mx.far.co.uk -all",),
            Question("s._domainkey.far.co.uk", RRType.TXT): (public_record(KEY).encode(),),
            Question("_dmarc.far.co.uk", RRType.TXT): (b"v=DMARC1; p=reject",),
        }
        self.started()
        content = b"From: a@mail.far.co.uk\r\nSubject: a\r\n\r\nHi\r\n"
        signed = sign(content, [Signer(parse_domain("far.co.uk"), "s", KEY)], now=self.parts.now())
        visitor = self.visitor()
        for line in ("MAIL FROM:<a@mail.far.co.uk>", "RCPT TO:<alice@ours.example>", "DATA"):
            self.assertIn(visitor.code(line), {"250", "354"})
        self.assertEqual("250", visitor.code(signed.decode() + "."))
        domain = parse_domain("far.co.uk")
        self.assertEqual(
            Provenance(
                mail_from=Validation.PASS,
                author=Validation.STRICT,
                author_domain=parse_domain("mail.far.co.uk"),
                author_organization=domain,
                dmarc="pass",
                dmarc_policy="reject",
                dkim_domains=(domain,),
                iprev="pass",
                reverse_name="mx.far.co.uk",
            ),
            self.message().provenance,
        )
        exposed = self.parts.metrics.exposition().decode()
        for series in (
            'mox_iprev_lookup_total_count{status="pass"} 1.0',
            'mox_spf_verify_duration_seconds_count{status="pass"} 1.0',
            'mox_dkim_verify_duration_seconds_count{algorithm="ed25519-sha256",status="pass"} 1.0',
            'mox_dmarc_verify_duration_seconds_count{reject="no",status="pass",use="yes"} 1.0',
        ):
            self.assertIn(series, exposed)

    def test_maildirs(self) -> None:
        """Mail goes into Maildirs, and what is done with it there is noticed."""
        folder = self.folder / "mail"
        alice = Account("alice", ("alice@ours.example",), maildir=Maildir(str(folder)))
        self.started(accounts=(alice,))
        self.deliver("alice", hand_over=True)
        self.passes(lambda: self.message().maildir_name is not None and any(folder.glob("new/*")))
        (file,) = folder.glob("new/*")
        file.rename(folder / "cur" / f"{file.name}:2,S")
        self.passes(lambda: "S" in self.message().flags)

    def message(self) -> StoredMessage:
        """The only one."""
        (message,) = self.result(self.parts.mail_store.list_messages("alice"))
        return message

    def passes(self, done: Callable[[], bool]) -> None:
        """
        That it comes to pass within some of the watch's looks.  Time stands still while
        threads speak: the longer a look takes, the longer the watch rests.
        """
        for _ in range(500):
            while self.reactor.hear(0.05):
                self.reactor.advance(0)
            if done():
                return
            self.reactor.advance(5)
        self.fail("it never came to pass")

    def test_control(self) -> None:
        """Operators are listened to, and nobody else is."""
        self.started()
        ((_, _, _, mode, _),) = self.reactor.unixServers
        self.assertEqual(0o600, mode)

    def test_begins_in_one_step(self) -> None:
        """Who starts services in one step, as twist does, gets every port, too, and once."""
        server = self.made(self.settings())
        self.addCleanup(gc.unfreeze)
        self.addCleanup(self.stop, server)
        server.startService()
        self.reactor.until(lambda: server._is_up)
        names = [type(port.factory).__name__ for port in self.ports]
        self.assertEqual(["ProxyFactory", "_Site"], names)

    def test_certificate(self) -> None:
        """What keeps it from starting once the reactor runs is told."""
        listener = ListenerSettings(
            name="public",
            addresses=(LOOPBACK,),
            tls=TLSSettings(certificate="/none", key="/none"),
            smtp=ServiceSettings(enabled=True, port=0),
        )
        server = self.made(self.settings(listeners=(listener,)))
        server.privilegedStartService()
        self.addCleanup(self.stop, server)
        server.startService()
        self.reactor.until(lambda: self.told)
        self.assertIsInstance(self.told[0], CertificateError)


class PasswordTests(ServerCase):
    """What is kept of passwords."""

    full = PasswordSecrets("$argon2id$", "s256", "s1", "cram")

    def set_password(self) -> None:
        """Alice's, with all that can be kept of it."""
        self.result(self.parts.hashes.set_password_secrets("alice", self.full))

    def kept(self) -> PasswordSecrets | None:
        """Behind all that is being written."""
        self.result(self.parts.engine.database.transact(lambda _: None))
        return self.result(self.parts.hashes.password_secrets("alice"))

    def test_cram_md5_turned_off(self) -> None:
        """A reload that turns CRAM-MD5 off removes what was kept for it, at once."""
        server = self.started()
        self.set_password()
        server.reload(self.settings())
        self.assertEqual(self.kept(), self.full)
        server.reload(self.settings(cram_md5=False))
        self.assertEqual(self.kept(), replace(self.full, cram_md5=""))
        self.assertFalse(self.parts.cram_md5)

    def test_cram_md5_off(self) -> None:
        """So does a start with CRAM-MD5 off."""
        server = self.started()
        self.set_password()
        self.stop(server)
        self.reactor.ports.clear()
        self.started(cram_md5=False)
        self.assertEqual(self.kept(), replace(self.full, cram_md5=""))

    def test_pretence(self) -> None:
        """Unknown users have the same salt in every run of the server (S-50)."""
        wanted = SecretsWanted("eve@ours.example", ScramHash.SHA256)
        found = []
        for _ in range(2):
            server = self.started()
            entrance: Any = self.ports[0].factory.wrapped.entrance
            house = entrance.receiver(session_log()).house
            found.append(self.result(house.credentials.secrets(wanted)))
            self.stop(server)
            self.reactor.ports.clear()
        self.assertEqual(*found)
        self.assertIsNone(found[0].login)


class HousekeepingTests(ServerCase):
    """What is done again and again."""

    def test_clean_up(self) -> None:
        """Content that nobody refers to is removed, and only once it is old."""
        self.started()
        files = self.parts.engine.files
        old, young = files.path(files.new_name()), files.path(files.new_name())
        for path, age in ((old, 25), (young, 23)):
            path.write_bytes(b"x")
            os.utime(path, (STARTED - age * 3600,) * 2)
        self.reactor.advance(5)
        self.reactor.until(lambda: not old.exists())
        self.assertTrue(young.exists())

    def test_retired(self) -> None:
        """History whose time is over is forgotten (Q-1)."""
        self.started()
        numbers = self.queue("a@far.example", "b@far.example")
        times = dict(zip(numbers, (-1, 7200), strict=True))
        now = self.parts.now()
        _ = self.result(
            self.parts.queue_admin.end(
                numbers,
                lambda job, _: Settlement(
                    job,
                    Retired(OutgoingEvent.CANCELED, now + timedelta(seconds=times[job.id])),
                    Result(now, timedelta(), success=False),
                ),
            )
        )

        def left() -> int:
            def work(tx: Transaction) -> int:
                ((count,),) = tx.execute(select(func.count()).select_from(retired_job))
                return int(count)

            return self.result(self.parts.engine.database.read(work))

        self.assertEqual(2, left())
        self.reactor.advance(3)
        self.result(self.parts.engine.database.transact(lambda _: None))
        self.assertEqual(1, left())

    def test_sent(self) -> None:
        """What no limit counts any more is forgotten, but for whom was written to (S-94)."""
        self.started()
        allowance = Allowance("alice", 0, 0)
        jobs = [job("a@far.example"), job("a@far.example")]
        self.result(self.parts.job_store.add(SPOOLED, jobs, allowance))

        def left() -> int:
            def work(tx: Transaction) -> int:
                ((count,),) = tx.execute(select(func.count()).select_from(sent))
                return int(count)

            return self.result(self.parts.engine.database.read(work))

        self.reactor.advance(5)
        # The next time is counted from the end of the first.
        self.reactor.until(lambda: self.reactor.sleeps(24 * 3600))
        self.assertEqual(2, left())
        self.reactor.advance(24 * 3600)
        self.reactor.until(lambda: left() == 1)

    def test_levels(self) -> None:
        """Monitors are told how much mail waits, and how much of it is on hold."""
        self.started()
        numbers = self.queue("a@far.example", "b@far.example", "c@far.example")
        hold = update(job_table).where(job_table.c.id == numbers[0]).values(hold=1)
        self.result(self.parts.engine.database.transact(lambda tx: tx.execute(hold)))
        self.reactor.advance(1)
        self.reactor.until(lambda: b"\nmoxsmtp_queue_messages 3.0\n" in self.get("/metrics"))
        self.assertIn(b"\nmox_queue_hold 1.0\n", self.get("/metrics"))

    def test_client_keys(self) -> None:
        """
        Keys of clients are known before anybody comes, and what another process does about
        them two seconds later (S-37).
        """
        self.started()
        keys = self.parts.client_keys
        self.assertEqual(keys.remembered(), {})
        others = ClientKeys(self.parts.engine.database, now=self.parts.now)
        login = Login("alice", "alice@x.example")
        self.result(others.add("A" * 43, login, ""))
        self.assertEqual(keys.remembered(), {})
        for _ in range(10):
            self.reactor.advance(2)
            self.reactor.until(lambda: keys.remembered() == {"A" * 43: login})


class ReadyTests(ServerCase):
    """What C{/readyz} says."""

    def test_ready(self) -> None:
        """All is well."""
        self.started()
        self.assertIn(b" 200 ", self.get("/readyz"))

    def test_no_room(self) -> None:
        """Mail is not to be had while less disk is free than has to be."""
        self.started(store=StoreSettings(minimum_free=1 << 62))
        answer = self.get("/readyz")
        self.assertIn(b" 503 ", answer)
        self.assertIn(b"database: less disk space is free than has to be\n", answer)

    def test_no_room_for_content(self) -> None:
        """Nor while that holds of the disk with the content, where it has one of its own."""

        def statvfs(folder: Path) -> SimpleNamespace:
            return SimpleNamespace(f_bavail=9 if folder.name == "content" else 99, f_frsize=1)

        self.patch(os, "statvfs", statvfs)
        self.started(store=StoreSettings(minimum_free=10))
        self.assertIn(b"database: less disk space is free than has to be\n", self.get("/readyz"))

    def test_resolver(self) -> None:
        """Nor while names cannot be looked up."""
        self.started()
        self.alone.trouble = "no answer"
        answer = self.get("/readyz")
        self.assertIn(b" 503 ", answer)
        self.assertIn(b"resolver: no answer\n", answer)


class ReloadTests(ServerCase):
    """Other settings while it runs."""

    def test_accounts(self) -> None:
        """Mail is taken for accounts that are new, and for others no more."""
        server = self.started()
        visitor = self.visitor()
        self.assertEqual("550", visitor.send("bob@ours.example"))
        bob = Account("bob", addresses=("bob@ours.example",))
        server.reload(self.settings(accounts=(bob,), postmaster="bob"))
        self.assertEqual("250", visitor.send("bob@ours.example"))
        self.assertEqual("550", visitor.send("alice@ours.example"))

    def test_maildir_again(self) -> None:
        """What waits for an account that had no Maildir for a while is handed over at once."""
        server = self.started()
        self.deliver("alice", hand_over=True)
        folder = self.folder / "mail"
        alice = Account("alice", ("alice@ours.example",), maildir=Maildir(str(folder)))
        server.reload(self.settings(accounts=(alice,)))
        self.reactor.until(lambda: any(folder.glob("new/*")))

    def test_relays(self) -> None:
        """Machines that may relay are those of the settings in force."""
        server = self.started()
        visitor = self.visitor()
        self.assertEqual("550", visitor.send("bob@away.example"))
        relay = RelaySettings(name="self", networks=(ip_network("127.0.0.0/8"),))
        server.reload(self.settings(relays=(relay,)))
        visitor = self.visitor()
        self.assertEqual("250", visitor.send("bob@away.example"))
        server.reload(self.settings())
        self.assertEqual("550", visitor.send("bob@away.example"))

    def test_keys(self) -> None:
        """Mail is signed with other keys, in connections that were there before too (S-96)."""
        server = self.started()
        entrance: Any = self.ports[0].factory.wrapped.entrance
        house = entrance.receiver(session_log()).house
        ours = parse_domain("ours.example")
        self.assertEqual({ours: ()}, house.signers())
        signer = Signer(ours, "s", KEY)
        selector = Selector(signer=signer, record=public_record(KEY))
        server.reload(self.settings(selectors={ours: (selector,)}))
        self.assertEqual({ours: (signer,)}, house.signers())
        server.reload(self.settings())
        self.assertEqual({ours: ()}, house.signers())

    def test_routes(self) -> None:
        """Mail takes the ways of the settings in force, also what waits already (Q-43)."""
        server = self.started()
        waiting = Consignment(
            account="alice", sender=None, recipient=parse_domain("far.example"), failed_attempts=1
        )
        stop = Fail("stop")
        routing = Routing(transports={"stop": stop}, routes=(Route((), (), 1, "stop"),))
        chosen: list[Transport] = []
        for settings in (self.settings(routing=routing), self.settings()):
            server.reload(settings)
            found = self.parts.router.chosen(waiting)
            assert isinstance(found, Chosen)
            chosen.append(found.transport)
        self.assertEqual([stop, DIRECT], chosen)

    def test_while_starting(self) -> None:
        """What is loaded before all is up is obeyed once it is."""
        server = self.made(self.settings())
        bob = Account("bob", addresses=("bob@ours.example",))
        begin = server.startService

        def interrupted() -> None:
            begin()
            server.reload(self.settings(accounts=(bob,), postmaster="bob"))

        self.patch(server, "startService", interrupted)
        self.running(server)
        visitor = self.visitor()
        self.assertEqual("250", visitor.send("bob@ours.example"))
        self.assertEqual("550", visitor.send("alice@ours.example"))

    def test_restart(self) -> None:
        """What cannot be obeyed without a restart is told."""
        server = self.started()
        logged: list[str] = []

        @implementer(ILogObserver)
        def observe(event: dict[str, object]) -> None:
            logged.append(str(event.get("what")))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        server.reload(self.settings(hostname=parse_domain("new.ours.example")))
        self.assertIn("hostname", logged)
        self.assertNotIn("queue", logged)

    def test_restart_documented(self) -> None:
        """Whoever reads of reloads in the documentation is told what that is."""
        page = Path(__file__).resolve().parents[1] / "docs" / "configuration.rst"
        told = page.read_text("utf-8")
        for name in service_module._FIXED:
            self.assertRegex(told, rf"``\[?{name}\]?``")


class StopTests(ServerCase):
    """The end."""

    def test_sockets(self) -> None:
        """Nothing listens any more, for mail or for monitors (S-15)."""
        server = self.started()
        self.stop(server)
        self.assertEqual([False, False], [port.is_open for port in self.ports])

    def test_sessions(self) -> None:
        """Who is connected when it stops gets 421 to the next command (S-15)."""
        server = self.started()
        visitor = self.visitor()
        stopped = server.stopService()
        self.assertEqual("421", visitor.code("NOOP"))
        self.reactor.pump([3, 1, 10])
        self.result(stopped)

    def test_again(self) -> None:
        """All is let go of: another server may take the same data folder."""
        self.stop(self.started())
        self.assertTrue(self.alone.own.is_closed)
        self.reactor.ports.clear()
        self.started()
        self.assertIn(b" 200 ", self.get("/readyz"))
