"""PostgreSQL with a cluster of its own."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from moxsmtp.store.postgresql import prepare_postgresql
from tests.peers.process import PATIENCE, Process, ProgramTestCase, find, free_port, until

__all__ = ["OnPostgreSQL", "PostgreSQL", "cluster", "new_database"]

_names = itertools.count()


class PostgreSQL:
    """
    A server on a free loopback port, with a fresh cluster in which everybody
    on this machine is trusted.  As root it is run as the user C{postgres}.
    """

    def __init__(self, folder: Path) -> None:
        self._user = "postgres" if os.geteuid() == 0 else None
        folder.mkdir()
        if self._user:
            shutil.chown(folder, self._user, self._user)
        self.port = free_port()
        self._folder = folder
        self._cluster = folder / "cluster"
        subprocess.run(
            [
                find("initdb") or "initdb",
                *("--pgdata", self._cluster, "--username", "moxsmtp", "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            cwd=folder,
        )
        self.start()

    def start(self) -> None:
        """Serve; again, if it was stopped."""
        self._process = Process(
            [
                find("postgres") or "postgres",
                *("-D", self._cluster, "-p", str(self.port), "-k", self._folder, "-h", "127.0.0.1"),
            ],
            log=self._folder.with_suffix(".log"),
            cwd=self._folder,
            user=self._user,
        )
        until(self._is_ready, what="PostgreSQL answers", log=self._process.output)

    def _is_ready(self) -> bool:
        return self._run("pg_isready", "-q", "-d", "postgres").returncode == 0

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                find(program) or program,
                *("-h", "127.0.0.1", "-p", str(self.port), "-U", "moxsmtp", *arguments),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            cwd=self._folder,
        )

    def database(self, name: str, *, template: str = "template0") -> str:
        """Make a copy of C{template}, which is empty.  @return: Its URL."""
        self.query("postgres", f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return f"postgresql://moxsmtp@127.0.0.1:{self.port}/{name}"

    def query(self, database: str, statement: str) -> str:
        """What C{psql} prints, bare."""
        done = self._run("psql", "-d", database, "-At", "-c", statement)
        done.check_returncode()
        return done.stdout.strip()

    def end(self) -> None:
        """Stop it, cutting its connections."""
        self._process.signal(signal.SIGINT)
        self._process.end()


@functools.cache
def cluster() -> PostgreSQL:
    """One server for all tests of a process, ended with it."""
    folder = Path(tempfile.mkdtemp(prefix="mox"))
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    postgresql = PostgreSQL(folder / "postgresql")
    atexit.register(postgresql.end)
    prepare_postgresql(postgresql.database("prepared"))
    return postgresql


def new_database(*, template: str = "prepared") -> str:
    """The URL of a database in the L{cluster}, with our tables unless C{template0} is asked for."""
    return cluster().database(f"test{next(_names)}", template=template)


class OnPostgreSQL(ProgramTestCase):
    """
    A test on a real PostgreSQL.  In front of a contract, whose own C{setUp} is
    called when all is there that it needs.
    """

    programs = ("initdb", "postgres", "psql")

    def setUp(self) -> None:
        if importlib.util.find_spec("psycopg") is None:
            self.unavailable("not installed: psycopg, the extra postgres")
        super().setUp()

    @functools.cached_property
    def url(self) -> str:
        """A database with our tables, of this test alone."""
        return new_database()
