"""Side-by-side benchmarks: the ledger, what it is built on, what it is compared with, and the floor below all of them.

Not installed with the packages: `order-ledger bench` finds it beside them in a checkout.
"""
