"""Tests mirror the packages; fakes live in tests/fakes.py; e2e/ runs real processes on loopback."""
