"""`python -m pipeline` is `liquidations`."""

from pipeline.cli import main

main()
