"""Values that users give: what is allowed, how it is written, and the one way to refuse what is not."""
