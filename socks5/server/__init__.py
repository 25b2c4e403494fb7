"""One client connection, from its first octet to its record.

One end for each session, whatever leads to it; a fault ends one session.
"""
