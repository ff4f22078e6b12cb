"""Training in several processes, with the same bytes as in one."""
