"""RFC 5321 as values and machines, without I/O."""
