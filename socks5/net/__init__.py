"""Sockets, names and TLS: an event reaches the socket that it is about. Knows no session, command, user or rule."""
