"""Webhooks that tell others of orders, as https://www.standardwebhooks.com has them."""
