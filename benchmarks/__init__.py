"""Measurements: `python -m benchmarks NAME [--json] [--quick]`. Nothing here is part of the product."""
