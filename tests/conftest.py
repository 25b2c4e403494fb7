"""What every test stands on: Hypothesis' profiles, and the guard over the log.

pytest-twisted is found by pytest itself; ``--reactor asyncio`` chooses the other reactor.
"""

import os

import hypothesis

from tests import sessions

# In CI the examples are the same in every run: a red build is then about the change under test.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

failures = sessions.failures
