"""Plan to events: submission, reconciliation, polling, download, budget."""
