"""`python -m app` is `personadual`: what `serve` calls where the command is not on the path."""

from app.cli import main

main()
