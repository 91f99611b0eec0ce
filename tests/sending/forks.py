"""Forks: processes of a test's own, which have our code imported when they start."""

from multiprocessing import get_context

FORKS = get_context("forkserver")
# In one place: there is one such server in a process, and who says it last says it for all.
FORKS.set_forkserver_preload([f"tests.sending.{name}" for name in ("hammer", "hand", "victim")])
