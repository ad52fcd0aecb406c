"""Files of a sandbox as data: trees, access rights, accounts, lines, archives."""
