"""Revisions, oldest first; each names the one before it and is never changed once released."""
