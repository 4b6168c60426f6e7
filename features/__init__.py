"""Features: what was known of an account on a day, as Ibis expressions."""
