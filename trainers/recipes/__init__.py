"""Recipes: files with a dict FLAGS, and a docstring that says what to expect."""
