"""
Statements, compiled once, and the transaction that runs them.

The text goes straight to the driver: SQLAlchemy's own way of running a
statement costs several times what SQLite needs for it.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from sqlalchemy import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import Executable

from moxsmtp.store.files import ContentFiles

__all__ = ["Cursor", "Driver", "Statements", "Transaction"]

#: More statements than any program has; beyond it somebody builds them anew each time.
_MOST: Final = 2000


class Cursor(Protocol):
    """What drivers answer a statement with, as far as we need it (PEP 249)."""

    @property
    def description(self) -> Any: ...
    @property
    def rowcount(self) -> int: ...
    def fetchall(self) -> list[Any]: ...


class Driver(Protocol):
    """A driver's connection, as far as we need it."""

    def execute(self, text: str, values: Any, /) -> Cursor: ...
    def executemany(self, text: str, values: Any, /) -> Cursor: ...


class _Compiled:
    """
    @ivar fixed: Values that are part of the statement.
    @ivar make_row: Makes a named tuple; known once there was an answer.
    """

    __slots__ = ("fixed", "make_row", "statement", "text")

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)  # type: ignore[attr-defined]  # ClauseElement's
        self.statement = statement
        self.text: str = compiled.string
        self.fixed: Mapping[str, object] = {
            name: bind.effective_value
            for bind, name in compiled.bind_names.items()
            if not bind.required
        }
        self.make_row: Callable[[Iterable[Any]], Any] | None = None


class Statements:
    """
    Core statements as text for a driver, by their identity.

    What a statement holds as values is kept beside the text; C{IN} lists that
    expand cannot be compiled once and are not used.
    """

    def __init__(self, dialect: Dialect, error: type[Exception]) -> None:
        """@param error: What all errors of the driver descend from."""
        self._dialect = dialect
        self._error = error
        self._known: dict[int, _Compiled] = {}

    @property
    def dialect(self) -> str:
        """The engine's name."""
        return self._dialect.name

    def compiled(self, statement: Executable) -> _Compiled:
        """The text, and what belongs to it."""
        # The statement is kept with it, so that nothing else can get its id.
        known = self._known.get(id(statement))
        if known is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            known = self._known[id(statement)] = _Compiled(statement, self._dialect)
        return known

    def wrapped(self, error: Exception, text: str) -> Exception:
        """The driver's error as SQLAlchemy's, the same for every driver; values are not shown."""
        if not isinstance(error, self._error):
            return error
        ours = DBAPIError.instance(
            text, None, error, self._error, hide_parameters=True, dialect=self._dialect
        )
        ours.__cause__ = error
        return ours


class Transaction:
    """
    What a unit of work does its work with, in a thread of the database.

    Errors of the engine are those of C{sqlalchemy.exc}, so that
    C{IntegrityError} is one class.

    @ivar dialect: C{sqlite} or C{postgresql}.
    @ivar files: The content folder.
    @ivar changed: Rows that the last statement changed or gave.
    @ivar error: What the last statement that failed raised.
    @ivar doomed: Content files that are unlinked after the commit.
    """

    __slots__ = (
        "_alive", "_driver", "_statements", "changed", "dialect", "doomed", "error", "files",
    )  # fmt: skip

    def __init__(
        self,
        driver: Driver,
        statements: Statements,
        files: ContentFiles,
        alive: Callable[[], None],
    ) -> None:
        """@param alive: Raises if the engine has ended the transaction under us."""
        self.dialect: str = statements.dialect
        self.files = files
        self.changed = 0
        self.error: Exception | None = None
        self.doomed: list[str] = []
        self._driver = driver
        self._statements = statements
        self._alive = alive

    def execute(
        self, statement: Executable, parameters: Mapping[str, object] | None = None
    ) -> Sequence[Any]:
        """
        Run a statement that was built once, at module level, with C{bindparam}.

        @return: All rows of a SELECT or RETURNING, as named tuples; else nothing.
        """
        compiled = self._statements.compiled(statement)
        values = compiled.fixed
        if parameters:
            values = {**values, **parameters} if values else parameters
        self._alive()
        try:
            cursor = self._driver.execute(compiled.text, values)
            if cursor.description is None:
                self.changed = cursor.rowcount
                return ()
            rows = cursor.fetchall()
        except Exception as error:
            self.error = self._statements.wrapped(error, compiled.text)
            raise self.error from error
        self.changed = len(rows)
        if compiled.make_row is None:
            compiled.make_row = _row_maker([column[0] for column in cursor.description])
        return list(map(compiled.make_row, rows))

    def execute_many(
        self, statement: Executable, parameters: Sequence[Mapping[str, object]]
    ) -> None:
        """Run it once for each; gives no rows."""
        if not parameters:
            self.changed = 0
            return
        compiled = self._statements.compiled(statement)
        values = [{**compiled.fixed, **each} for each in parameters]
        self._alive()
        try:
            self.changed = self._driver.executemany(compiled.text, values).rowcount
        except Exception as error:
            self.error = self._statements.wrapped(error, compiled.text)
            raise self.error from error

    def doom(self, file: str) -> None:
        """Unlink a content file once this unit is committed; its row is dropped."""
        self.files.condemn(file)
        self.doomed.append(file)

    def spare(self, number: int = 0) -> None:
        """Of the doomed, unlink only the first C{number}: the others' rows stay."""
        self.files.reprieve(self.doomed[number:])
        del self.doomed[number:]

    def unlink_doomed(self) -> None:
        """They are committed."""
        doomed, self.doomed = self.doomed, []
        self.files.unlink(doomed)


def _row_maker(names: Sequence[str]) -> Callable[[Iterable[Any]], Any]:
    """A named tuple's; a name that Python does not take becomes its place, C{_0}."""
    made: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]  # known only now
    make: Callable[[Iterable[Any]], Any] = made._make
    return make
