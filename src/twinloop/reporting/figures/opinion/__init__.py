"""Figures of what people said of sessions."""
