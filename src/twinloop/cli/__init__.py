"""The command line: thin commands, one file a group."""

from twinloop.cli.root import main

__all__ = ["main"]
