"""What the DNS says, as values, and the resolver that asks it."""
