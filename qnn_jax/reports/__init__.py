"""Records -> tables, pictures and the fidelity to the paper."""
