"""`python -m picostem` is the `picostem` command."""

from picostem.cli import main

main()
