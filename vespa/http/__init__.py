"""HTTP/1.1 on Twisted's transports, as a server and as a client. Independent of Vast."""
