"""Octets and their order: whatever the octets, an event or an error of the tree. No socket, clock or Deferred."""
