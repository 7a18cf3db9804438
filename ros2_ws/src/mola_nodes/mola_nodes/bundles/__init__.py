"""Which bundles serve: the manager behind the services of a hot swap."""
