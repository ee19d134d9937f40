"""How each torch operator becomes operators of the float network, one file a family."""

from __future__ import annotations

from autoshrink.backends.cortex_m.convert.rules import linear, pointwise, pools, shapes
from autoshrink.backends.cortex_m.convert.rules.call import Call, Rules

__all__ = ["RULES", "Call"]

RULES: Rules = {**linear.RULES, **pointwise.RULES, **pools.RULES, **shapes.RULES}
