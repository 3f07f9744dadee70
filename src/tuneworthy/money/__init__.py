"""Money: bills, ways to serve a model, break-even of fine-tuning."""
