"""`twinloop train`, and the options that training shares with evaluation."""
