"""
Programs that measure.  Each starts the servers it needs, on loopback and free
ports, in a folder of its own, and ends them.  Run them from the checkout, with
an environment that has the package's dependencies::

    python -m bench.receive 3

``docs/performance.rst`` says what each is for.
"""
