"""Optimizers from people's files in a process of their own, which can be ended: nothing of the file runs in this one.

The process is handed tensors in shared memory and one line of JSON a call, and answers in the same way; what it says is
checked, and never unpickled.  So networks, losses and verdicts stay here, and a lane with such an optimizer is a lane
like any other.
"""

from explorer.training.separate.optimizer import check, load
from explorer.training.separate.process import Limits

__all__ = ["Limits", "check", "load"]
