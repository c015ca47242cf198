"""Requests over HTTP to strangers: webhooks, and policies of other domains."""
