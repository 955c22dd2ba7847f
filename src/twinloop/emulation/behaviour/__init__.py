"""When viewers leave what they watch: a semi-Markov machine, a policy that imitates people, and lives of viewers."""
