"""Faces over time: motion, association, the tracker and the choice of which crop to ask about.

Pure: values and `now` in, values out. Knows no detector, no socket and no lease.
"""
