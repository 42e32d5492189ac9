"""What the HTTP/1.1 engine owes on the wire, as tables of cases run over real sockets (RFC 9110, RFC 9112)."""
