"""Turn training data into batches: manifests, importers, mixtures, features and collation."""
