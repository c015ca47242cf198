"""
Runs the suite that needs no other program: all but C{tests.peers}.

C{python -m tests [options of trial]}
"""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.scripts.trial import run

HERE = Path(__file__).parent


def suites() -> list[str]:
    """The packages and modules that are run."""
    packages = (path.parent.name for path in HERE.glob("*/__init__.py"))
    modules = (path.stem for path in HERE.glob("test_*.py"))
    return sorted(f"tests.{name}" for name in (*packages, *modules) if name != "peers")


if __name__ == "__main__":
    sys.argv = ["trial", *sys.argv[1:], *suites()]
    run()
