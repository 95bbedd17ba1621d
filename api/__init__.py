"""The HTTP API: Flask routes that parse a request, call one command or query, and answer."""
