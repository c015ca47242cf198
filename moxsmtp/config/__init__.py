"""The configuration: TOML into the settings of every part, all mistakes at once."""

from moxsmtp.config.folders import default_data_directory, localserve_directory
from moxsmtp.config.load import data_directory, load
from moxsmtp.config.mistakes import ConfigError, Mistake
from moxsmtp.config.settings import HTTPSettings, LogLevel, LogSettings, Selector, Settings

__all__ = [
    "ConfigError", "HTTPSettings", "LogLevel", "LogSettings", "Mistake", "Selector",
    "Settings", "data_directory", "default_data_directory", "load", "localserve_directory",
]  # fmt: skip
