"""The same work done by several libraries, one module for each.

A contender is a function that gets data and returns another one, which does one epoch
of work and returns the loss of that epoch in nats per example. Each runs in a process
of its own, so that a module imports one framework only.
"""
