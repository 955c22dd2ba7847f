"""Commands that ask a running server, over its public API."""
