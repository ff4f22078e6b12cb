"""Which option of a question a text decides for."""
