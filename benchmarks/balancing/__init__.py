"""What `python -m benchmarks.methods` compares, how, and the table of it."""
