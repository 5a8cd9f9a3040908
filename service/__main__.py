"""`python -m service` is the `numeral` command."""

from service.cli import main

main()
