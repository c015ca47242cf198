"""Where people read their mail, if not in the store."""
