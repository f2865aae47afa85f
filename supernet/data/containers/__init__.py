"""Containers: images in rows of Hugging Face data sets, and the splits and classes they tell."""
