"""Navien NaviLink: heat-pump water heaters, and the gas units of the same cloud."""
