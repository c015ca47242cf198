"""
Which module may import which, read from the syntax trees.

Layers, from the ground up: the language of mail; checks; decisions; shells;
edges.  A module imports its own layer or a lower one, and a shell no other
shell's package, the shared ones apart: shells meet in C{interfaces} and
C{queue.storage}.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from twisted.trial import unittest

ROOT: Final = Path(__file__).resolve().parent.parent

LANGUAGE, CHECK, DECISION, SHELL, EDGE = range(1, 6)

#: The longest entry that a module's name starts with, by whole words, rules.
#: A package that spans layers is listed by its modules; its own name, which
#: every import of them runs, is as low as the lowest.
LAYERS: Final[Mapping[str, int]] = {
    "moxsmtp": LANGUAGE,
    "moxsmtp.names": LANGUAGE,
    "moxsmtp.interfaces": LANGUAGE,
    "moxsmtp.smtp": LANGUAGE,
    "moxsmtp.message": LANGUAGE,
    "moxsmtp.directory": DECISION,
    "moxsmtp.dns": LANGUAGE,
    "moxsmtp.dns.records": LANGUAGE,
    "moxsmtp.dns.settings": LANGUAGE,
    "moxsmtp.dns.asking": CHECK,
    "moxsmtp.dns.cache": SHELL,
    "moxsmtp.dns.memory": CHECK,
    "moxsmtp.dns.packet": LANGUAGE,
    "moxsmtp.dns.probe": SHELL,
    "moxsmtp.dns.recording": CHECK,
    "moxsmtp.dns.resolver": SHELL,
    "moxsmtp.dns.sharing": SHELL,
    "moxsmtp.dns.system": SHELL,
    "moxsmtp.dns.turns": SHELL,
    "moxsmtp.dns.upstream": SHELL,
    "moxsmtp.dns.wire": LANGUAGE,
    "moxsmtp.time_limit": CHECK,
    "moxsmtp.spf": CHECK,
    "moxsmtp.dkim": CHECK,
    "moxsmtp.dmarc": CHECK,
    "moxsmtp.dane": CHECK,
    "moxsmtp.iprev": CHECK,
    "moxsmtp.dnsbl": CHECK,
    "moxsmtp.public_suffix": CHECK,
    "moxsmtp.reachability": CHECK,
    "moxsmtp.judge": DECISION,
    "moxsmtp.queue": DECISION,
    "moxsmtp.queue.mail": SHELL,
    "moxsmtp.queue.runner": SHELL,
    "moxsmtp.queue.worker": SHELL,
    "moxsmtp.queue_operations": EDGE,
    "moxsmtp.outbound": DECISION,
    "moxsmtp.outbound.attempt": SHELL,
    "moxsmtp.outbound.connection": SHELL,
    "moxsmtp.outbound.content": SHELL,
    "moxsmtp.outbound.deadlines": SHELL,
    "moxsmtp.outbound.dial": SHELL,
    "moxsmtp.outbound.sessions": SHELL,
    "moxsmtp.outbound.visit": SHELL,
    "moxsmtp.outbound.ways": SHELL,
    "moxsmtp.outbound.lately": SHELL,
    "moxsmtp.outbound.lookups": SHELL,
    "moxsmtp.outbound.forecast": SHELL,
    "moxsmtp.outbound.next_hop": SHELL,
    "moxsmtp.outbound.route": DECISION,
    "moxsmtp.outbound.smarthost_terms": DECISION,
    "moxsmtp.outbound.socks": SHELL,
    "moxsmtp.outbound.socks_reply": DECISION,
    "moxsmtp.outbound.security": SHELL,
    "moxsmtp.outbound.sources": DECISION,
    "moxsmtp.outbound.tls_policy": DECISION,
    "moxsmtp.outbound.tlsa": SHELL,
    "moxsmtp.outbound.transport": DECISION,
    "moxsmtp.outbound.unreachable": DECISION,
    "moxsmtp.outbound.verdict": SHELL,
    "moxsmtp.webhooks": DECISION,
    "moxsmtp.unique_words": EDGE,
    "moxsmtp.way_in": EDGE,
    "moxsmtp.way_out": EDGE,
    "moxsmtp.webhooks.calls": SHELL,
    "moxsmtp.webhooks.post": SHELL,
    "moxsmtp.tls": CHECK,
    "moxsmtp.tls.binding": SHELL,
    "moxsmtp.tls.certificates": SHELL,
    "moxsmtp.tls.ciphers": SHELL,
    "moxsmtp.tls.client": CHECK,
    "moxsmtp.tls.client_key": CHECK,
    "moxsmtp.tls.identity": CHECK,
    "moxsmtp.tls.openssl": SHELL,
    "moxsmtp.tls.problems": CHECK,
    "moxsmtp.tls.server": SHELL,
    "moxsmtp.tlsrpt": CHECK,
    "moxsmtp.store": SHELL,
    "moxsmtp.mailbox": DECISION,
    "moxsmtp.mailbox.content": SHELL,
    "moxsmtp.mailbox.duty": DECISION,
    "moxsmtp.mailbox.handover": SHELL,
    "moxsmtp.mailbox.maildir": SHELL,
    "moxsmtp.mailbox.marker": SHELL,
    "moxsmtp.mailbox.names": DECISION,
    "moxsmtp.mailbox.rest": SHELL,
    "moxsmtp.mailbox.storage": DECISION,
    "moxsmtp.mailbox.threads": SHELL,
    "moxsmtp.mailbox.troubles": SHELL,
    "moxsmtp.mailbox.watch": SHELL,
    "moxsmtp.receive": SHELL,
    "moxsmtp.https": LANGUAGE,
    "moxsmtp.https.addresses": LANGUAGE,
    "moxsmtp.https.client": SHELL,
    "moxsmtp.https.endpoint": SHELL,
    "moxsmtp.mtasts": LANGUAGE,
    "moxsmtp.mtasts.cache": SHELL,
    "moxsmtp.mtasts.fetch": SHELL,
    "moxsmtp.mtasts.policy": LANGUAGE,
    "moxsmtp.mtasts.refresh": SHELL,
    "moxsmtp.mtasts.storage": LANGUAGE,
    "moxsmtp.outlet": SHELL,
    "moxsmtp.metrics": EDGE,
    "moxsmtp.config": EDGE,
    "moxsmtp.bridge": EDGE,
    "moxsmtp.testing": EDGE,
    "moxsmtp.admin": EDGE,
    "moxsmtp.logs": EDGE,
    "moxsmtp.control_table": EDGE,
    "moxsmtp.dispatch": EDGE,
    "moxsmtp.engine": EDGE,
    "moxsmtp.entrances": EDGE,
    "moxsmtp.local_checks": EDGE,
    "moxsmtp.list_watch": EDGE,
    "moxsmtp.localserve": EDGE,
    "moxsmtp.office": EDGE,
    "moxsmtp.operations": EDGE,
    "moxsmtp.options": EDGE,
    "moxsmtp.outbound_tls": EDGE,
    "moxsmtp.parts": EDGE,
    "moxsmtp.periodic": EDGE,
    "moxsmtp.reloading": EDGE,
    "moxsmtp.service": EDGE,
    "moxsmtp.sockets": EDGE,
    "moxsmtp.steady_timers": EDGE,
    "moxsmtp.sts": EDGE,
    "moxsmtp.surroundings": EDGE,
    "moxsmtp.plain_errors": EDGE,
    "moxsmtp.plugin": EDGE,
    "moxsmtp.early_reload": EDGE,
    "moxsmtp.privileges": EDGE,
    "moxsmtp.tap": EDGE,
    "moxsmtp.hall": EDGE,
    "moxsmtp.worker": EDGE,
    "moxsmtp.__main__": EDGE,
}

#: Shells that others may import: what several of them would otherwise hold twice.
#: They know no other shell themselves.
SHARED: Final = frozenset({"moxsmtp.https", "moxsmtp.outlet"})

#: The only modules that may import the reactor: where processes begin.
REACTOR_OWNERS: Final = ("moxsmtp.tap", "moxsmtp.worker.entry")

#: The ports name Twisted's Deferred; nothing else below the shells needs Twisted.
KNOWS_TWISTED: Final = frozenset({"moxsmtp.interfaces.content", "moxsmtp.interfaces.lookups"})


def module_name(path: Path) -> str:
    """The dotted name of a source file below L{ROOT}."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> dict[str, str]:
    """The text of every module of the package, by its name."""
    return {
        module_name(path): path.read_text("utf-8")
        for path in sorted((ROOT / "moxsmtp").rglob("*.py"))
        if "__pycache__" not in path.parts
    }


def layer(module: str) -> int | None:
    """The layer of a module; L{None}: the table does not know it."""
    name = module
    while name not in LAYERS:
        name, dot, _ = name.rpartition(".")
        if not dot:
            return None
    return None if name == "moxsmtp" != module else LAYERS[name]


def package(module: str) -> str:
    """The shell that a module belongs to: the first word behind C{moxsmtp}."""
    return ".".join(module.split(".")[:2])


def imported(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every name that a tree imports, wherever in it, C{from} a C{import} b as C{a.b}."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node, f"{'.' * node.level}{node.module or ''}.{alias.name}"


def under_type_checking(tree: ast.AST) -> Iterator[ast.stmt]:
    """The statements that only a type checker reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.body:
                yield from (n for n in ast.walk(child) if isinstance(n, ast.stmt))


def is_own(name: str) -> bool:
    """Whether an imported name is of this package."""
    return name == "moxsmtp" or name.startswith("moxsmtp.")


def violations(module: str, text: str, known: frozenset[str]) -> list[str]:
    """
    What C{text}, the source of C{module}, imports against the rule.

    @param known: Every module of the package, to tell a module that is
        imported from a name in one.
    """
    found = []
    tree = ast.parse(text)
    mine = layer(module)
    if mine is None:
        return [f"{module}: in no layer; give it one in tests/test_layers.py"]
    hidden = {id(statement) for statement in under_type_checking(tree)}
    for statement, name in imported(tree):
        place = f"{module}:{statement.lineno}: {name}"
        if name.startswith("."):
            found.append(f"{place}: relative")
        elif name.startswith("twisted.internet.reactor") and module not in REACTOR_OWNERS:
            found.append(f"{place}: the reactor is a parameter")
        elif name.split(".")[0] == "twisted":
            if mine in (LANGUAGE, DECISION) and module not in KNOWS_TWISTED:
                found.append(f"{place}: a core knows no Twisted")
        elif is_own(name):
            if id(statement) in hidden:
                found.append(f"{place}: hides a cycle")
            found += _against_layers(module, mine, name, place, known)
    return found


def _against_layers(
    module: str, mine: int, name: str, place: str, known: frozenset[str]
) -> list[str]:
    target = name if name in known else name.rpartition(".")[0]
    theirs = layer(target)
    if theirs is None:
        return [f"{place}: in no layer"]
    if theirs > mine:
        return [f"{place}: upward, from layer {mine} to {theirs}"]
    if mine == theirs == SHELL and package(target) not in SHARED | {package(module)}:
        return [f"{place}: sideways, from one shell to another"]
    return []


class PackageTests(unittest.SynchronousTestCase):
    """The package as it stands."""

    def test_imports_point_down(self) -> None:
        """No module imports upwards, a shell no other shell, and only C{tap} the reactor."""
        texts = sources()
        known = frozenset(texts)
        found = [line for module in texts for line in violations(module, texts[module], known)]
        self.assertEqual(found, [])

    def test_packages_hold_no_code(self) -> None:
        """An C{__init__} has a docstring, re-exports and C{__all__}, nothing that runs."""
        allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
        found = []
        for path in sorted((ROOT / "moxsmtp").rglob("*/__init__.py")):
            body = ast.parse(path.read_text("utf-8")).body
            found += [
                f"{module_name(path)}:{node.lineno}"
                for node in body
                if not isinstance(node, allowed)
            ]
        self.assertEqual(found, [])

    def test_table_is_of_this_package(self) -> None:
        """The table's packages exist or are made of modules that do: no entry is a misspelling."""
        known = sources()
        stale = [name for name in LAYERS if package(name) not in known]
        self.assertEqual(stale, [])


class RuleTests(unittest.SynchronousTestCase):
    """The reading of the rule itself, on sources made for it."""

    KNOWN = frozenset(
        {
            "moxsmtp",
            "moxsmtp.config",
            "moxsmtp.dns.records",
            "moxsmtp.dns.resolver",
            "moxsmtp.https.client",
            "moxsmtp.interfaces",
            "moxsmtp.queue.job",
            "moxsmtp.receive.protocol",
            "moxsmtp.receive.receiver",
            "moxsmtp.smtp.session",
            "moxsmtp.store.database",
        }
    )

    def assertRefused(self, module: str, text: str, word: str) -> None:
        """C{text} in C{module} is one violation, named by C{word}."""
        found = violations(module, text, self.KNOWN)
        self.assertEqual(len(found), 1, found)
        self.assertIn(word, found[0])

    def test_upward(self) -> None:
        """A core may not import a shell, whichever way it is written, and wherever."""
        for text in (
            "from moxsmtp.store.database import Database",
            "from moxsmtp.store import database",
            "import moxsmtp.store.database",
            "def f():\n    import moxsmtp.store.database",
        ):
            self.assertRefused("moxsmtp.smtp.session", text, "upward")

    def test_same_package_upward(self) -> None:
        """Being in one package is no excuse: records may not import the resolver."""
        self.assertRefused(
            "moxsmtp.dns.records", "from moxsmtp.dns.resolver import Resolver", "upward"
        )

    def test_sideways(self) -> None:
        """A shell may not import another shell, but its own package."""
        text = "from moxsmtp.store.database import Database"
        self.assertRefused("moxsmtp.receive.protocol", text, "sideways")
        own = "from moxsmtp.receive.receiver import Receiver"
        self.assertEqual(violations("moxsmtp.receive.protocol", own, self.KNOWN), [])

    def test_shared(self) -> None:
        """What several shells need they all may import, and it imports none of them."""
        shared = "from moxsmtp.https.client import Client"
        self.assertEqual(violations("moxsmtp.receive.protocol", shared, self.KNOWN), [])
        text = "from moxsmtp.store.database import Database"
        self.assertRefused("moxsmtp.https.client", text, "sideways")

    def test_settings_stay_unaware_of_config(self) -> None:
        """Whoever obeys settings does not import what loads them."""
        self.assertRefused("moxsmtp.receive.protocol", "import moxsmtp.config", "upward")

    def test_downward(self) -> None:
        """Shells import decisions, ports and the language of mail."""
        text = (
            "from moxsmtp.queue.job import Job\n"
            "from moxsmtp.interfaces import IQueue\n"
            "from moxsmtp.smtp import session\n"
            "from moxsmtp import __version__\n"
        )
        self.assertEqual(violations("moxsmtp.store.database", text, self.KNOWN), [])

    def test_hidden_cycle(self) -> None:
        """An import for the type checker alone counts, and is refused in itself."""
        guard = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "
        self.assertRefused(
            "moxsmtp.store.database", guard + "from moxsmtp.interfaces import IQueue", "cycle"
        )
        typing = guard.replace("TYPE_CHECKING:", "typing.TYPE_CHECKING:")
        self.assertRefused(
            "moxsmtp.store.database", typing + "from moxsmtp.interfaces import IQueue", "cycle"
        )

    def test_reactor(self) -> None:
        """The reactor is imported in C{tap} alone."""
        for text in (
            "from twisted.internet import reactor",
            "import twisted.internet.reactor",
            "from twisted.internet.reactor import callLater",
        ):
            self.assertRefused("moxsmtp.receive.protocol", text, "reactor")
            self.assertEqual(violations("moxsmtp.tap", text, self.KNOWN), [])

    def test_core_knows_no_twisted(self) -> None:
        """What computes over values imports nothing of Twisted."""
        text = "from twisted.internet.defer import Deferred"
        self.assertRefused("moxsmtp.smtp.session", text, "no Twisted")
        self.assertRefused("moxsmtp.queue.job", text, "no Twisted")
        self.assertEqual(violations("moxsmtp.interfaces.lookups", text, self.KNOWN), [])

    def test_relative(self) -> None:
        """Imports are absolute."""
        self.assertRefused("moxsmtp.smtp.session", "from .reply import Reply", "relative")

    def test_unknown_module(self) -> None:
        """A module without a layer has to be given one."""
        self.assertRefused("moxsmtp.utilities", "", "no layer")
