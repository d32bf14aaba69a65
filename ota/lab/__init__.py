"""Virtual microcomputers: real OpenSSH daemons as the current user on loopback ports, each with a home, a host key and a link of its own."""
