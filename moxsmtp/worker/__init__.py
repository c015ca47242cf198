"""Processes that work beside the first one: they speak with clients, it does all else."""
