"""Is this face somebody here, or a photo or a screen held up? Pure: pixels and `now` in, suspicion out.

`watch` keeps one `suspicion` per path from two kinds of cue: what moves with the face (`motion`) and the
pattern of a display (`texture`). `edge_node.analysis` calls it. docs/liveness.md says what it does not see.
"""
