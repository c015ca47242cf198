"""Decisions over what is known of a client and its mail."""
