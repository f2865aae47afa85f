"""Networks, spaces and data shown to a person: tables and figures."""
