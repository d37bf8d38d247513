"""Control plane over HTTP, account documents, and the console for browsers."""
