"""Records of jobs with their legal transitions, and the SQLite file that keeps them."""
