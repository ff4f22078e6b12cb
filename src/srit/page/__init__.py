"""HTML pages that need no other file: their look, and what their script reads."""
