"""Training in several processes, which ends in the same bytes as in one."""
