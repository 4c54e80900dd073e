"""Programs that measure what the library claims."""
