"""Finds the numbers of a text as they are written, and compares them."""
