"""Methods that divide a slice's reservation among its flows for a slot."""
