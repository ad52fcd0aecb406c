"""The sandbox daemon: a small process of its own, run as a script and never imported by the package."""
