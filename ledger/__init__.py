"""The domain and the write side of the order ledger: aggregates, events, commands and the event store."""
