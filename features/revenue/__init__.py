"""Terms, renewals and recurring revenue computed from contracts."""
