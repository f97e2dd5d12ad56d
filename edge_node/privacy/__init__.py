"""The heart: which frames may leave, when, and what of them is seen.

Pure: values and `now` in, values out. No thread, no socket, no file. `timeline` knows where faces
were at any captured instant, `release` holds frames until an analysis covers them, `decisions` holds
leases and decides who is shown, `veil` paints and makes the only frame that a sink accepts.
"""
