"""What the tests share: real servers, and the ledger put together over any storage."""
