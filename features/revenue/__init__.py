"""Terms, renewals and recurring revenue from contracts."""
