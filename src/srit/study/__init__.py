"""A study: a grid over recipe fields, run as one, and what came out of it in tables and sentences."""
