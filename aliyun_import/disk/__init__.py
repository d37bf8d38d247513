"""This room looks at what is on this machine; it opens files, never a socket."""
