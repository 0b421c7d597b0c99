"""Images of generators from prompts: one record an adapter, a shard that resumes by image, and a prompt table."""
