"""What Sealwright offers over HTTP: one file for each resource, plain ASGI, no web framework."""
