"""TLS contexts, and what a handshake came to."""
