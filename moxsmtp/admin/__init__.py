"""Looking at and steering a running server."""
