"""A process: it starts completely or not at all, and says in one sentence why not."""
