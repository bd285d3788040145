"""Building blocks in plain torch, state in and state out."""
