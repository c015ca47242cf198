"""Mail in: from a socket to the store."""
