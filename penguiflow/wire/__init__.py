"""Wire: how things are written between processes, as texts and bytes, without I/O; one module a format."""
