"""What a lying or curious party does: to measure defences with, in simulations."""

from fedkd.attacks.config import AttackConfig

__all__ = ["AttackConfig"]
