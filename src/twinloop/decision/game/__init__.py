"""The game of user groups for the resources of cells and servers (paper 000, III-D)."""
