"""What the ledger's HTTP API is compared with."""
