"""Web pages over stored runs and running networks: read-only, on loopback alone, with nothing loaded from elsewhere.

`sources` reads metrics and chain; what takes long is done in a process of its own (`jobs`, `analysis`). What pages show
is computed by plain functions (`standing`, `timeline`, `charts`), gathered for the templates by `pages`, and sent by
`app` to whom `guard` lets through.
"""
