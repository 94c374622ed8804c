"""What the stack shows of itself: the mails it sent and the traces it made."""
