"""Whose each address of a configuration is, and what is wrong with aliases and the like."""

from __future__ import annotations

from moxsmtp.config import ConfigError, Mistake
from moxsmtp.config.load import load
from moxsmtp.directory import AliasSettings, DomainSettings, ReportSettings
from moxsmtp.interfaces import Account, AddressRole, Alias, RoleAddress
from moxsmtp.names import parse_domain
from moxsmtp.smtp.address import Path
from tests.config.test_load import LEAST, ConfigTestCase

OURS = parse_domain("example.org")

SEPARATED = LEAST.replace('org"]\n[acc', 'org"]\nseparator = "+"\n[acc')

ALIAS = '[domain."example.org".alias.%s]\naddresses = [%s]\n'

REPORT = 'local_part = "reports"\naccount = "alice"\n'


class DomainTests(ConfigTestCase):
    """How domains read local-parts."""

    def test_separators(self) -> None:
        """One separator is written as text, several as an array, none as empty text."""
        for written, wanted in {
            '"+"': ("+",),
            '["+", "-"]': ("+", "-"),
            '""': (),
            "[]": (),
        }.items():
            loaded = self.loaded(SEPARATED.replace('separator = "+"', f"separator = {written}"))
            self.assertEqual(DomainSettings(separators=wanted), loaded.domains[OURS], written)

    def test_bad_separators(self) -> None:
        """Each is of a few characters that are no letters, and there once."""
        for written, word in {
            '"a"': "write some of",
            '["+", ""]': "write some of",
            '"+++++++++"': "write some of",
            '["-", "-"]': "twice",
        }.items():
            text = SEPARATED.replace('separator = "+"', f"separator = {written}")
            self.assertMistake(text, 9, 'domain."example.org".separator', word)
        text = SEPARATED.replace('separator = "+"', "separator = 1")
        self.assertMistake(text, 9, 'domain."example.org".separator', "array")

    def test_any_separator_in_address(self) -> None:
        """I-111: an address with any of its domain's separators could never be reached."""
        text = SEPARATED.replace('separator = "+"', 'separator = ["+", "-"]')
        self.assertMistake(
            text.replace("alice@", "a-b@"), 11, "account.alice.addresses[0]", 'separator "-"'
        )

    def test_reports_only(self) -> None:
        """I-27: nobody can live in a domain that is here for its reports alone."""
        text = LEAST + '[domain."r.example"]\nreports_only = true\n'
        self.assertTrue(self.loaded(text).domains[parse_domain("r.example")].reports_only)
        text += '[account.bob]\naddresses = ["bob@r.example"]\n'
        self.assertMistake(text, 14, "account.bob.addresses[0]", "reports_only")


class AliasTests(ConfigTestCase):
    """C{[domain.NAME.alias.LOCAL_PART]}."""

    def test_loaded(self) -> None:
        """I-33: an alias with all that can be said of it."""
        text = LEAST + ALIAS % ('"sales.team"', '"alice@example.org"')
        text += "post_public = true\nlist_members = true\nallow_message_from = true\n"
        loaded = self.loaded(text)
        self.assertEqual(
            (
                AliasSettings(
                    address="sales.team@example.org",
                    addresses=("alice@example.org",),
                    post_public=True,
                    list_members=True,
                    allow_message_from=True,
                ),
            ),
            loaded.aliases,
        )
        found = loaded.directory().recipient_of(Path("Sales.Team", OURS))
        assert isinstance(found, Alias)
        self.assertTrue(found.post_public and found.list_members and found.allow_message_from)

    def test_members(self) -> None:
        """I-33: there is one at least, each is an account's address, and there once."""
        key = 'domain."example.org".alias.team.addresses'
        other = 'addresses = ["alice@example.org", "@example.org"]'
        text = LEAST.replace('addresses = ["alice@example.org"]', other)
        for written, place, word in (
            ("", "", "is empty"),
            ('"bob@example.org"', "[0]", "no address of an account"),
            ('"@example.org"', "[0]", "no address of an account"),
            ('"team@example.org"', "[0]", "no address of an account"),
            ('"bob@elsewhere.example"', "[0]", "not ours"),
            ('"alice"', "[0]", "no address"),
            ('"alice@example.org", "ALICE@Example.org"', "[1]", "there already"),
        ):
            self.assertMistake(text + ALIAS % ("team", written), 12, key + place, word)

    def test_address(self) -> None:
        """I-33: an alias's address is nobody else's, has no separator, and is one."""
        member = '"alice@example.org"'
        for name, word in {
            "Alice": "account.alice.addresses[0]",
            '"a+b"': "separator",
            '"a b"': "no address",
            '""': "no local-part",
        }.items():
            found = self.mistakes(SEPARATED + ALIAS % (name, member))
            self.assertEqual([12], [line for line, *_ in found], found)
            self.assertIn(word, found[0][2])
        text = SEPARATED + ALIAS % ("team", member) + ALIAS % ("Team", member)
        self.assertMistake(text, 14, 'domain."example.org".alias.Team', "alias.team")

    def test_broken_account(self) -> None:
        """What follows from an account that cannot be read is not said as well."""
        text = LEAST.replace('["alice@example.org"]', "1") + ALIAS % ("team", '"alice@example.org"')
        self.assertEqual(["account.alice.addresses"], [key for _, key, _ in self.mistakes(text)])


class ReportTests(ConfigTestCase):
    """Where reports about our mail are sent."""

    def test_loaded(self) -> None:
        """Of a domain, in another domain, and of the host (I-26, I-27)."""
        text = LEAST + '[domain."r.example"]\nreports_only = true\n'
        text += '[domain."r.example".dmarc_reports]\n' + REPORT + 'domain = "example.org"\n'
        text += '[domain."example.org".tls_reports]\nlocal_part = "tls"\naccount = "alice"\n'
        text += '[host_tls_reports]\nlocal_part = "TLS"\naccount = "alice"\nmailbox = "TLS"\n'
        loaded = self.loaded(text)
        self.assertEqual(
            {
                ReportSettings(
                    role=AddressRole.HOST_TLS_REPORTS,
                    address="TLS@mx.example.org",
                    account="alice",
                    mailbox="TLS",
                ),
                ReportSettings(
                    role=AddressRole.TLS_REPORTS, address="tls@example.org", account="alice"
                ),
                ReportSettings(
                    role=AddressRole.DMARC_REPORTS, address="reports@example.org", account="alice"
                ),
            },
            set(loaded.reports),
        )
        found = loaded.directory().recipient_of(Path("TLS", parse_domain("mx.example.org")))
        self.assertEqual(
            RoleAddress(AddressRole.HOST_TLS_REPORTS, loaded.accounts[0], "TLS"), found
        )

    def test_postmaster_mailbox(self) -> None:
        """I-25: the postmaster's mailbox is settable."""
        loaded = self.loaded('postmaster_mailbox = "Post"\n' + LEAST)
        found = loaded.directory().recipient_of(Path("postmaster", None))
        self.assertEqual(RoleAddress(AddressRole.POSTMASTER, loaded.accounts[0], "Post"), found)

    def test_mailbox_names(self) -> None:
        """INBOX in any spelling is the Inbox; what no folder can be called is a mistake."""
        loaded = self.loaded('postmaster_mailbox = "INBOX"\n' + LEAST)
        self.assertEqual(loaded.postmaster_mailbox, "Inbox")
        for wrong in ("", "x" * 256, "a//b"):
            text = f'postmaster_mailbox = "{wrong}"\n'
            self.assertMistake(text + LEAST, 1, "postmaster_mailbox", "")
        tables = ('domain."example.org".tls_reports', "host_tls_reports")
        for table in tables:
            text = f'{LEAST}[{table}]\n{REPORT}mailbox = "%s"\n'
            self.assertEqual(self.loaded(text % "inBox").reports[0].mailbox, "Inbox")
            self.assertMistake(text % "..", 14, f"{table}.mailbox", "Inbox")

    def test_mistakes(self) -> None:
        """I-26, I-111: the account exists, and the address is ours and nobody else's."""
        table = 'domain."example.org".dmarc_reports'
        begin = f"{LEAST}[{table}]\n"
        self.assertMistake(
            begin + REPORT.replace('account = "alice"', 'account = "bob"'),
            13, f"{table}.account", '"bob"',
        )  # fmt: skip
        self.assertMistake(
            begin + REPORT.replace("reports", "ALICE"), 12, f"{table}.local_part", "same address"
        )
        self.assertMistake(
            begin + REPORT + 'domain = "x.example"\n', 14, f"{table}.domain", "not ours"
        )
        self.assertMistake(begin + REPORT + 'mailbox = " "\n', 14, f"{table}.mailbox", "Inbox")
        host = LEAST + "[host_tls_reports]\n"
        self.assertMistake(
            host + REPORT.replace("reports", "PostMaster"),
            12, "host_tls_reports.local_part", "postmaster's",
        )  # fmt: skip
        self.assertMistake(
            host + REPORT + 'domain = "x.example"\n', 14, "host_tls_reports.domain", "unknown key"
        )
        self.assertMistake(
            host + REPORT.replace("reports", "a b"), 12, "host_tls_reports.local_part", "no address"
        )

    def test_host_that_is_a_domain(self) -> None:
        """I-111: where the host's name is a domain of ours, its addresses are taken there."""
        text = LEAST.replace("mx.example.org", "example.org") + "[host_tls_reports]\n"
        self.assertMistake(
            text + REPORT.replace("reports", "alice"),
            12, "host_tls_reports.local_part", "same address",
        )  # fmt: skip


class AccountTests(ConfigTestCase):
    """What else is said of accounts and their addresses."""

    def warnings(self, text: str) -> list[tuple[str, str]]:
        """Key and text of each."""
        found: list[Mistake] = []
        load(self.write(text), found.append)
        return [(warning.key, warning.text) for warning in found]

    def test_limits(self) -> None:
        """S-94: how much an account may send is settable, and 0 is without limit."""
        usual = self.loaded(LEAST).accounts[0]
        self.assertEqual(
            (1000, 200),
            (usual.max_outgoing_messages_per_day, usual.max_first_time_recipients_per_day),
        )
        text = LEAST + "max_outgoing_messages_per_day = 0\nmax_first_time_recipients_per_day = 7\n"
        account = self.loaded(text).accounts[0]
        self.assertEqual(
            (0, 7),
            (account.max_outgoing_messages_per_day, account.max_first_time_recipients_per_day),
        )
        text = LEAST + "max_outgoing_messages_per_day = -1\n"
        self.assertMistake(text, 11, "account.alice.max_outgoing_messages_per_day", "between 0")

    def test_queue_quota(self) -> None:
        """Q-95: a limit for how much mail may wait; there is none by default."""
        self.assertEqual(self.loaded(LEAST).accounts[0].max_queued_messages, 0)
        text = LEAST + "max_queued_messages = 500\n"
        self.assertEqual(self.loaded(text).accounts[0].max_queued_messages, 500)
        text = LEAST + "max_queued_messages = -1\n"
        self.assertMistake(text, 11, "account.alice.max_queued_messages", "between 0")

    def test_from_ids(self) -> None:
        """S-98: login addresses are the account's, in a domain with a separator."""
        wanted = 'from_id_login_addresses = ["ALICE@example.org"]\nkeep_retired_messages = "7d"\n'
        loaded = self.loaded(SEPARATED + wanted)
        self.assertEqual(
            Account(
                "alice",
                addresses=("alice@example.org",),
                keep_retired_messages=loaded.accounts[0].keep_retired_messages,
                from_id_login_addresses=("ALICE@example.org",),
            ),
            loaded.accounts[0],
        )
        self.assertEqual([], self.warnings(SEPARATED + wanted))
        key = "account.alice.from_id_login_addresses[0]"
        self.assertMistake(LEAST + wanted, 11, key, "no separator")
        self.assertMistake(
            SEPARATED + wanted.replace("ALICE", "bob"), 12, key, "not an address of this account"
        )
        self.assertMistake(SEPARATED + wanted.replace("ALICE@", ""), 12, key, "no address")

    def test_from_ids_without_history(self) -> None:
        """Q-77: without history no bounce finds its message, which is worth a warning."""
        ((key, text),) = self.warnings(
            SEPARATED + 'from_id_login_addresses = ["alice@example.org"]'
        )
        self.assertEqual("account.alice.from_id_login_addresses[0]", key)
        self.assertIn("keep_retired_messages", text)

    def test_hostile(self) -> None:
        """Text that is no address at all is a mistake, wherever addresses are asked for."""
        for text in ("", "@", "a@b@c", "\\u0000", "x" * 5000, "a@" + "b" * 5000, "a@[192.0.2.1]"):
            quoted = f'"{text}"'
            for table in (
                f'[domain."example.org".alias.team]\naddresses = [{quoted}]\n',
                f'[domain."example.org".alias.{quoted}]\naddresses = ["alice@example.org"]\n',
                f'[host_tls_reports]\nlocal_part = {quoted}\naccount = "alice"\n',
            ):
                self.assertRaises(ConfigError, self.loaded, LEAST + table)
