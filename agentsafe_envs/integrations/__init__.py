"""Other software that plays or uses the environments; each part is an optional extra."""
