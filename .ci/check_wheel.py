"""
Is the installed package whole, and does Twisted find its plugin?

Run with the Python of an environment that holds nothing but the wheel and
what it needs, and with the path of the checkout that the wheel was built from.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib.metadata import files
from pathlib import Path


def output(*command: str) -> str:
    """What a program of this environment prints; it must end well."""
    program = Path(sysconfig.get_path("scripts")) / command[0]
    done = subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def main(checkout: Path) -> None:
    """Check, and say what was found."""
    shipped = {str(path) for path in files("moxsmtp") or ()}
    if not shipped:
        raise SystemExit("no package moxsmtp is installed here")
    wanted = {
        str(path.relative_to(checkout))
        for path in (checkout / "moxsmtp").rglob("*.py")
        if "__pycache__" not in path.parts
    } | {"moxsmtp/py.typed", "twisted/plugins/moxsmtp_plugin.py"}
    if missing := wanted - shipped:
        raise SystemExit(f"not in the wheel: {', '.join(sorted(missing))}")
    outside = {
        name for name in shipped if name.startswith("twisted/") and "__pycache__" not in name
    } - {"twisted/plugins/moxsmtp_plugin.py"}
    if outside:
        raise SystemExit(f"these belong to Twisted: {', '.join(sorted(outside))}")
    foreign = {name for name in shipped if name.startswith(("tests/", "bench/", "docs/"))}
    if foreign:
        raise SystemExit(f"these are not for users: {', '.join(sorted(foreign))}")
    if "moxsmtp" not in output("twistd", "--help").split():
        raise SystemExit("twistd does not list moxsmtp")
    for command in (("twistd", "moxsmtp", "--help"), ("moxsmtp", "--help")):
        print(output(*command))
    print(f"{len(wanted)} modules, and the plugin is listed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
