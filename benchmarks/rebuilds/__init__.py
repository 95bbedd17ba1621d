"""Ways to make the order view from the log: the ledger's own, the library's, and SQL alone."""
