"""One number as it is written: found in a text, and compared."""
