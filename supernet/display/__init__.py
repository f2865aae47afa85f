"""Networks and spaces shown to a person: tables and figures."""
