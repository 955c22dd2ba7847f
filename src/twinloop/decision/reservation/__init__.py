"""Methods that reserve resources for slices for a window."""
