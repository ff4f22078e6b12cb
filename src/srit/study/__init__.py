"""A study: a grid over recipe fields, run as one, with its results in tables and sentences."""
