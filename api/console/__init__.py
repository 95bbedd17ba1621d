"""The console: pages for auditors, staff and admins, made on the server."""
