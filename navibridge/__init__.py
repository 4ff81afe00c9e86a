"""A local MQTT re-publisher for Navien NaviLink water heaters and Mysa thermostats."""
