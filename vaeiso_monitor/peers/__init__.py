"""What sources and sinks share about reaching a peer: secrets, security, diagnosis, deadlines."""
