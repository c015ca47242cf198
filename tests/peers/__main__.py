"""
C{python -m tests.peers [NAME ...]}: run all peer tests, or those named.

Their modules are called C{check_*}, so that C{trial tests} does not find them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.scripts.trial import run

if __name__ == "__main__":
    modules = [f"{__package__}.{path.stem}" for path in Path(__file__).parent.glob("check_*.py")]
    sys.argv[1:] = sys.argv[1:] or ["--rterrors", *sorted(modules)]
    run()
