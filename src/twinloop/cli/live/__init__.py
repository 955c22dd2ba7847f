"""The live platform from the command line: serve it, feed it, ask it, decide."""
