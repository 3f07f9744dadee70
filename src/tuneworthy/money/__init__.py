"""Money: bills, serving cost, token savings, break-even of fine-tuning."""
