"""What lets navibridge be tried without an account: simulated clouds, an embedded broker, and a demo of all of it."""
