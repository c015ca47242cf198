"""Mail that waits to leave: what a job is, when it is tried, what an attempt means."""
