"""Where people are kept: identities, templates, consents. SQLite; everything else is derived from it."""
