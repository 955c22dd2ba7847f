"""twinloop: a network digital twin that closes the loop. Importing it does nothing; see `twinloop.scenario` and
`twinloop.runs`.
"""

__version__ = "0.1.0"
