"""Commands that live through case studies."""
