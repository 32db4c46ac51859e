"""From the state to a page: what was made, what it cost, and which take to keep."""
