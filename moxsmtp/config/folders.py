"""Where data lives if nobody says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["default_data_directory", "localserve_directory"]


def _user_data(environment: Mapping[str, str], platform: str) -> Path:
    """The user's data directory: XDG Base Directory, or Apple's counterpart."""
    home = Path(environment.get("HOME") or "~").expanduser()
    if platform == "darwin":
        return home / "Library" / "Application Support"
    given = environment.get("XDG_DATA_HOME", "")
    # "All paths set in these environment variables must be absolute", else ignored.
    return Path(given) if given.startswith("/") else home / ".local" / "share"


def default_data_directory(environment: Mapping[str, str], platform: str) -> str:
    """
    For a server with a configuration file.

    @param platform: C{sys.platform}.
    """
    return str(_user_data(environment, platform) / "moxsmtp")


def localserve_directory(environment: Mapping[str, str], platform: str) -> str:
    """For localserve: a folder of its own, so that trials never meet real mail."""
    return str(_user_data(environment, platform) / "moxsmtp-localserve")
