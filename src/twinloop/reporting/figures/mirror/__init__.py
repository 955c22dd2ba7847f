"""The twins themselves: how true and fresh, what they foresaw, what they are worth."""
