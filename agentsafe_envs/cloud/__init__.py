"""World 1: a mock cloud API, in process and deterministic."""
