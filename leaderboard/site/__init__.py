"""The static board: pages made from verified submissions."""
