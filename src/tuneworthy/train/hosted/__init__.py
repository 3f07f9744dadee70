"""Training without a GPU of one's own: a vendor trains, by its files and fine-tuning jobs; one client, one table."""
