"""Mail out: from the queue to the next hop."""
