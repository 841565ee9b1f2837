"""The commands of scripts/chaos, and what they share."""
