"""Admission of new connections: limits, tickets, JSON Web Tokens, the PROXY protocol and the opening handshake."""
