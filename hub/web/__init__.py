"""The hub's web pages: who may open them, and what they show."""
