"""Runs as one page to look at: their rates, by how much they differ, and their episodes.

Try it::

    agentsafe score scripted:cautious --out cautious
    agentsafe score scripted:biased --out biased
    agentsafe report cautious biased
"""
