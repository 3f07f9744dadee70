"""Lints of a training config that somebody else wrote: PEFT, TRL, Unsloth, Axolotl; read, never run."""
