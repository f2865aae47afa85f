"""Containers: images in rows of Hugging Face data sets, and in shards, which are tar archives."""
