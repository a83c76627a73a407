"""`python -m services.cli`: the same as the `finops` command."""

from services.cli import main

main()
