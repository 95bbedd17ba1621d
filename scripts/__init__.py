"""The command line of the order ledger; one module a group of commands, no business logic."""
