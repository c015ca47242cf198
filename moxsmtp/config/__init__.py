"""
The configuration: TOML into the settings of every part, all mistakes at once.

L{moxsmtp.config.load} reads it; what only obeys settings does not need the means to.
"""

from moxsmtp.config.folders import default_data_directory, localserve_directory
from moxsmtp.config.mistakes import ConfigError, Mistake
from moxsmtp.config.settings import HTTPSettings, LogLevel, LogSettings, Selector, Settings

__all__ = [
    "ConfigError", "HTTPSettings", "LogLevel", "LogSettings", "Mistake", "Selector",
    "Settings", "default_data_directory", "localserve_directory",
]  # fmt: skip
