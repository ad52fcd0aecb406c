"""Reusable start states."""
