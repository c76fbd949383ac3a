"""The pages: each module has a function that returns what its template of the same name shows."""
