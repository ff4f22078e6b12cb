"""Whether a round's pairs had something to teach, and whether training on them mattered."""
