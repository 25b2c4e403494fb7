"""How a target is reached: only what the rules allowed is dialled, whatever the way."""
