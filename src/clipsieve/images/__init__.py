"""Pictures before an encoder sees them: decoding, manifests, splits, and copies that are edited."""
