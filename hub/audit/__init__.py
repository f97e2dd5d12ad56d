"""Every reveal and every act of an admin, in an append-only, hash-chained, signed log."""
