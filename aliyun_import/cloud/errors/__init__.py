"""Tables from the services' error codes to the error codes of this tool."""
