"""What a run leaves: trace tables, sums, the summary, and the directory that holds them."""
