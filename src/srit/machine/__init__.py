"""Finds and keeps the compute plan: how a student is computed on this machine, measured and proven."""
