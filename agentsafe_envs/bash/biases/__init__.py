"""One module and one TOML file of wordings for each bias of the Bash world."""
