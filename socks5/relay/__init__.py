"""Two streams joined until both are gone. What the far kernel has not taken is in one place, and its source is not read
meanwhile. Knows no SOCKS.
"""
