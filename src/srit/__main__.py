"""python -m srit."""

from srit.cli import app

app()
