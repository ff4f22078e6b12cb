"""Reads which of a question's options a text decides on."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # of options, in order
