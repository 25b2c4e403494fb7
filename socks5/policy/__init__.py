"""Who may do what, and how much: a decision is quick, pure, and bounded in memory."""
