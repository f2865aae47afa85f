"""Networks judged outside a search: trained alone, or on shared weights that rest."""
