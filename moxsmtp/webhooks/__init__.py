"""Telling other programs what happens to mail."""
