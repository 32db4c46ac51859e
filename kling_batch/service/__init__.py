"""The service: its two contracts, the HTTP seam, the account's ledger."""
