"""Benchmarks: what the proxy costs beside other proxies, measured in one run.

``python -m benchmarks`` starts every proxy that it finds in turns, each run a fresh process, and reads
from ``/proc`` what processor time, or memory, it took for a unit of work. ``python -m benchmarks.micro``
times the parts that move no octets.

Everything stays on loopback and is bounded in count and in time. Linux only. The proxy is started as
its users start it, so nothing but :mod:`benchmarks.micro` imports it.
"""
