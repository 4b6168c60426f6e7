"""Expected value of acting on an account, and the order of the list."""
