"""Where the shell runs: one interface, and the backends that isolate it."""
