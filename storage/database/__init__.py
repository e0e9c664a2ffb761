"""The SQL side of the gallery: tables, transactions, and the statements over them."""
