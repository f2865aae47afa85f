"""Latency tables: what is measured, in which order, and what is fitted to it."""
