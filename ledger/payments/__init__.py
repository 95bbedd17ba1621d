"""Payment gateways: the port that the ledger talks to, and its adapters."""
