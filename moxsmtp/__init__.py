"""A mail server for Twisted."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("moxsmtp")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0"

__all__ = ["__version__"]
