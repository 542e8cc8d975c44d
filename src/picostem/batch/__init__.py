"""Many images: a work list in a ledger, processes that share it, and a summary of what came out."""
