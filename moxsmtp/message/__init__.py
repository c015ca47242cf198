"""RFC 5322 messages as values: header fields, structure, what we write into them."""
