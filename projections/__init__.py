"""Views made from the log, and the reads that serve them."""
