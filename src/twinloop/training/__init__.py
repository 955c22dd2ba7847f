"""Data and simulated worlds handed to `learning`: what models are trained on, and the cards they leave."""
